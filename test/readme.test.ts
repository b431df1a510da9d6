import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { settings } from '../common/config/config.ts';
import { createMetrics } from '../common/telemetry/metrics.ts';
import { EDGE_INVALID_REASONS, readRecord } from '../contract/click-event.ts';
import { REJECT_REASONS } from '../ledger/dead-letters.ts';

const root = join(import.meta.dirname, '..');
const readme = readFileSync(join(root, 'README.md'), 'utf8');
const packageJson = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  dependencies: Record<string, string>;
  scripts: Record<string, string>;
};

/** The rows of the table that stands below a heading, or that begins with a header cell. */
function rowsOf(headerCell: string): string[] {
  const lines = readme.split('\n');
  const start = lines.findIndex((line) => line.startsWith(`| ${headerCell} |`));
  if (start < 0) throw new Error(`Expected a table that begins with "${headerCell}"`);
  const end = lines.findIndex((line, index) => index > start && !line.startsWith('|'));
  return lines.slice(start + 2, end);
}

describe('the README', () => {
  it('lists every setting with its default, range and meaning, and no other', () => {
    expect(rowsOf('setting')).toEqual(
      Object.entries(settings).map(
        ([name, setting]) =>
          `| \`${name}\` | ${setting.default || 'none'} | ${setting.range} | ${setting.meaning} |`,
      ),
    );
  });

  it('lists every metric with its type, labels and meaning, and no other', async () => {
    const { registry } = createMetrics();
    const metrics = (await registry.getMetricsAsJSON()).filter(({ name }) => name.startsWith('tollway_'));
    expect(rowsOf('metric')).toEqual(
      metrics.map(({ name, help, type }) => {
        // prom-client keeps the names of the labels and types them nowhere.
        const { labelNames } = registry.getSingleMetric(name) as unknown as { labelNames: string[] };
        const labels = labelNames.filter((label) => label !== 'le').map((label) => `\`${label}\``);
        return `| \`${name}\` | ${type} | ${labels.join(', ')} | ${help} |`;
      }),
    );
  });

  it('says of every dependency why it is there', () => {
    const named = rowsOf('package').map((row) => row.split('`')[1]);
    expect(named).toEqual(Object.keys(packageJson.dependencies));
  });

  it('shows the test vectors of the links', () => {
    const vectors = JSON.parse(readFileSync(join(root, 'contract/vectors/links.json'), 'utf8')) as {
      secret: string;
      adId: number;
      nonce: string | null;
      expiry: number | null;
      token: string;
    }[];
    expect(rowsOf('ad')).toEqual(
      vectors.map(
        ({ adId, nonce, expiry, token }) =>
          `| ${adId} | ${nonce ?? 'none'} | ${expiry ?? 'none'} | \`${token}\` |`,
      ),
    );
    expect(new Set(vectors.map(({ secret }) => secret))).toEqual(
      new Set(['AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8']),
    );
    expect(readme).toContain('AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8');
  });

  it('names every reason for which a click is not charged', () => {
    const named = [
      ...rowsOf('outcome')
        .join('\n')
        .matchAll(/`(\w+)`/g),
    ].map(([, word]) => word);
    for (const reason of [...EDGE_INVALID_REASONS, 'repeat', 'budget', 'cap', ...REJECT_REASONS])
      expect(named).toContain(reason);
  });

  it('shows two entries as they are', () => {
    for (const path of ['processor/main.ts', 'processor/functions/lambda-kinesis.ts'])
      expect(readme).toContain(`\`\`\`ts\n${readFileSync(join(root, path), 'utf8').trimEnd()}\n\`\`\``);
  });

  it('shows a click event that is one', () => {
    const [, text = ''] = /```json\n\s*(\{"v":1.*\})\n/.exec(readme) ?? [];
    expect(readRecord({ key: null, value: Buffer.from(text) }, 'README')).toMatchObject({ is: 'click' });
  });

  it('names the entries of all runtimes', () => {
    const [entries = ''] = rowsOf('what').filter((row) => row.startsWith('| entry |'));
    const named = [...entries.matchAll(/`([\w/-]+\.ts)`/g)].map(([, path = '']) =>
      path.replace(/^functions/, 'processor/functions'),
    );
    expect(named).toHaveLength(5);
    for (const path of named) expect(existsSync(join(root, path)), path).toBe(true);
  });

  it('computes costs by the formula it gives', () => {
    const rows = rowsOf('home').map((row) => row.split('|').map((cell) => cell.trim()));
    expect(rows.length).toBeGreaterThan(5);
    for (const [, runtime = '', clicks, cpuMs, dollars] of rows) {
      // A millisecond for a thousand clicks is a second for a million.
      const cpuSeconds = Number(cpuMs);
      const expected = runtime.startsWith('Lambda')
        ? (1e6 / Number(clicks)) * 0.0000002 + cpuSeconds * 0.00002303
        : cpuSeconds * 0.000009;
      expect(dollars, runtime).toBe(expected.toFixed(4));
    }
  });

  it('names no script that package.json does not have', () => {
    const scripts = [
      ...readme.matchAll(/npm (?:run )?(start|test|check|bench|load|migrate|[a-z-]+:[a-z]+)\b/g),
    ].map(([, name]) => name);
    for (const script of scripts) expect(Object.keys(packageJson.scripts)).toContain(script);
  });
});

describe('.env.example', () => {
  it('has every setting with its default', () => {
    const lines = readFileSync(join(root, '.env.example'), 'utf8').trim().split('\n').slice(1);
    expect(lines).toEqual(
      Object.entries(settings).map(
        ([name, setting]) => `# ${name}=${setting.default === 'unset' ? '' : setting.default}`,
      ),
    );
  });
});
