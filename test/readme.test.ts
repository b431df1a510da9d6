import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { settings } from '../common/config/config.ts';
import { EDGE_INVALID_REASONS } from '../contract/click-event.ts';
import { REJECT_REASONS } from '../ledger/charge/dead-letters.ts';
import { cellsOf, readPage, rowsOf } from './support/markdown.ts';

const root = join(import.meta.dirname, '..');
const readme = readPage('README.md');
const links = readPage('docs/links.md');

describe('the README', () => {
  it('is at most 180 lines and 12 kB', () => {
    expect(readme.split('\n').length - 1).toBeLessThanOrEqual(180);
    expect(Buffer.byteLength(readme)).toBeLessThanOrEqual(12_000);
  });
});

describe('docs/links.md', () => {
  it('shows the test vectors of the links', () => {
    const vectors = JSON.parse(readFileSync(join(root, 'contract/vectors/links.json'), 'utf8')) as {
      secret: string;
      adId: number;
      publisher: string | null;
      nonce: string | null;
      expiry: number | null;
      token: string;
    }[];
    expect(rowsOf(links, 'ad')).toEqual(
      vectors.map(
        ({ adId, publisher, nonce, expiry, token }) =>
          `| ${adId} | ${publisher ?? 'none'} | ${nonce ?? 'none'} | ${expiry ?? 'none'} | \`${token}\` |`,
      ),
    );
    expect(new Set(vectors.map(({ secret }) => secret))).toEqual(
      new Set(['AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8']),
    );
    expect(links).toContain('AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8');
  });
});

describe('docs/concepts.md', () => {
  it('lists every outcome with its reasons, and no other', () => {
    const listed = rowsOf(readPage('docs/concepts.md'), 'outcome').map((row) =>
      cellsOf(row).slice(0, 2).join(' ').replaceAll('`', ''),
    );
    expect(listed).toEqual([
      'charged none',
      'over_budget budget',
      'over_budget cap',
      'over_budget daily_cap',
      'over_budget pace',
      ...[...EDGE_INVALID_REASONS, 'repeat'].map((reason) => `invalid ${reason}`),
      ...REJECT_REASONS.map((reason) => `rejected ${reason}`),
    ]);
  });
});

describe('docs/architecture.md', () => {
  const page = readPage('docs/architecture.md');

  it('names only files and folders that exist', () => {
    const named = [...page.matchAll(/`([a-z-]+\/[\w./-]*)`/g)].map(([, path = '']) => path);
    expect(named.length).toBeGreaterThan(15);
    for (const path of named) expect(existsSync(join(root, path)), path).toBe(true);
  });

  it('lists the layers and their imports as the test of the architecture has them', () => {
    const source = readFileSync(join(root, 'test/architecture.test.ts'), 'utf8');
    const rules = [...source.matchAll(/^ {2}layer\('([\w-]+)', \[([^\]]*)\]/gm)].map(
      ([, folder, below = '']) => [folder, below.replaceAll("'", '')].join(': '),
    );
    const listed = rowsOf(page, 'folder').map((row) => {
      const [folder = '', , below = ''] = cellsOf(row);
      return `${folder}: ${below}`.replaceAll('`', '');
    });
    expect([...listed, 'deploy: '].sort()).toEqual(rules.sort());
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
