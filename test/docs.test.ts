import { existsSync, globSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { settings } from '../common/config/config.ts';
import { metricList } from '../common/telemetry/metric-list.ts';
import { readRecord } from '../contract/read-record.ts';
import { cellsOf, headingsOf, linksOf, readPage, rowsOf } from './support/markdown.ts';

const root = join(import.meta.dirname, '..');
const packageJson = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  dependencies: Record<string, string>;
  scripts: Record<string, string>;
};
const pages = [
  'README.md',
  'CONTRIBUTING.md',
  ...readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md'))
    .map((name) => join('docs', name)),
];

describe.each(pages)('%s', (path) => {
  const page = readPage(path);

  it('has no link to a file or a heading that does not exist', () => {
    const broken = linksOf(page).filter((target) => {
      if (/^[a-z]+:/.test(target)) return false;
      const [file = '', anchor] = target.split('#');
      const found = file === '' ? path : normalize(join(dirname(path), file));
      if (!existsSync(join(root, found))) return true;
      return (
        anchor !== undefined && !headingsOf(readPage(found)).some((heading) => heading.anchor === anchor)
      );
    });
    expect(broken).toEqual([]);
  });

  it('names no script that package.json does not have', () => {
    const scripts = [
      ...page.matchAll(/npm (?:run )?(start|test|check|bench|load|migrate|[a-z-]+:[a-z]+)\b/g),
    ].map(([, name]) => name);
    for (const script of scripts) expect(Object.keys(packageJson.scripts)).toContain(script);
  });
});

describe('docs/configuration.md', () => {
  it('lists every setting with its default, range and meaning, and no other', () => {
    expect(rowsOf(readPage('docs/configuration.md'), 'setting')).toEqual(
      Object.entries(settings).map(
        ([name, setting]) =>
          `| \`${name}\` | ${setting.default || 'none'} | ${setting.range} | ${setting.meaning} |`,
      ),
    );
  });
});

describe('docs/metrics.md', () => {
  const rows = readPage('docs/metrics.md')
    .split('\n')
    .filter((line) => line.startsWith('| `tollway_'));

  it('lists every metric with its type, labels, aggregation and meaning, and no other', () => {
    const described = rows.map((row) => `| ${cellsOf(row).slice(0, 5).join(' | ')} |`);
    expect(described).toEqual(
      Object.values(metricList).map((declaration) => {
        const { name, help, kind } = declaration;
        const labelNames: readonly string[] = 'labelNames' in declaration ? declaration.labelNames : [];
        const labels = labelNames.map((label) => `\`${label}\``).join(', ');
        const aggregator = 'aggregator' in declaration ? declaration.aggregator : 'sum';
        return `| \`${name}\` | ${kind} | ${labels} | ${aggregator} | ${help} |`;
      }),
    );
  });

  it('says of every metric when it matters, and links the alerts that are made of it', () => {
    const { groups } = parse(readPage('deploy/prometheus/alerts.yml')) as {
      groups: { rules: { alert: string; expr: string }[] }[];
    };
    const rules = groups.flatMap((group) => group.rules);
    for (const row of rows) {
      const [name = '', , , , , matters = ''] = cellsOf(row);
      expect(matters, name).toMatch(/\S/);
      const ofMetric = rules.filter(({ expr }) =>
        new RegExp(`\\b${name.slice(1, -1)}(_bucket|_count|_sum)?\\b`).test(expr),
      );
      expect(
        [...matters.matchAll(/\[(Tollway\w+)\]/g)].map(([, alert]) => alert),
        name,
      ).toEqual(ofMetric.map(({ alert }) => alert));
    }
  });

  it.each([
    'deploy/prometheus/alerts.yml',
    'deploy/prometheus/alerts.test.yml',
    'deploy/prometheus/recording.yml',
  ])('lists every metric that %s names', (path) => {
    const listed = new Set(rows.map((row) => cellsOf(row)[0]?.slice(1, -1)));
    // Recording rules make series such as `answer:tollway_redirects:rate1m` of metrics.
    const text = readPage(path).replaceAll(/(?:\w+:)?tollway_\w+:\w+/g, '');
    const named = [...text.matchAll(/\btollway_\w+/g)].map(([name]) => name);
    expect(named.length).toBeGreaterThan(10);
    const isListed = (name: string) =>
      listed.has(name) || listed.has(name.replace(/_(bucket|sum|count)$/, ''));
    expect(named.filter((name) => !isListed(name))).toEqual([]);
  });
});

describe('docs/dependencies.md', () => {
  it('gives the reason for every dependency, and for no other', () => {
    const named = rowsOf(readPage('docs/dependencies.md'), 'package').map((row) => row.split('`')[1]);
    expect(named).toEqual(Object.keys(packageJson.dependencies));
  });
});

describe('docs/performance.md', () => {
  const page = readPage('docs/performance.md');
  // Read as a text: an import would load what the benchmarks start.
  const source = readFileSync(join(root, 'load-tests/bench/benches.ts'), 'utf8');
  const benches = [...source.matchAll(/^ {2}'?([a-z0-9-]+)'?: bench/gm)].map(([, name = '']) => name);

  it('has a bar of every benchmark but those without one, and names none that does not exist', () => {
    const rows = rowsOf(page, 'bar').flatMap((row) => [...row.matchAll(/`([a-z0-9-]+)`[:,]/g)]);
    const bars = rows.map(([, name = '']) => name);
    expect(benches.length).toBeGreaterThan(10);
    const withoutBar = ['charge-writers', 'runtimes', 'cpu-per-click'];
    const missing = benches.filter((bench) => !bars.some((bar) => bar.startsWith(bench)));
    expect(missing.toSorted()).toEqual(withoutBar.toSorted());
    for (const [, names = ''] of page.matchAll(/--only ([\w,-]+)/g))
      for (const name of names.split(',')) expect(benches).toContain(name);
  });
});

describe('docs/running.md', () => {
  const page = readPage('docs/running.md');
  const measured = readPage('docs/performance.md');

  it('computes sizes by its formulas, with the measured times', () => {
    const micros = (part: string) => {
      const [, value] =
        new RegExp(`^\\| ${part}, cores \\| n × ([\\d.]+) µs ÷ 0\\.6 \\|$`, 'm').exec(page) ?? [];
      expect(measured, part).toContain(`${part} cores = n × ${value} µs ÷ 0.6`);
      return Number(value);
    };
    const [adServer, processor, postgres] = ['ad server', 'processor', 'PostgreSQL'].map(micros);
    const rows = rowsOf(page, 'clicks/s at the peak').map(cellsOf);
    expect(rows).toHaveLength(3);
    for (const [clicks, ...sizes] of rows) {
      const n = Number(clicks);
      const cores = (each = 0) => Math.max(0.01, (n * each) / 0.6e6).toFixed(2);
      const gigabytes = (bytes: number, digits = 1) => `${(bytes / 1e9).toFixed(digits)} GB`;
      const day = (n / 10) * 86_400 * 280;
      expect(sizes, clicks).toEqual([
        ...[cores(adServer), cores(processor), cores(postgres)],
        ...[gigabytes(n * 3_600 * 450), gigabytes(day), gigabytes(day * 400, 0)],
      ]);
    }
  });
});

describe('docs/running.md, PostgreSQL connections', () => {
  const sourceOf = (path: string) => readFileSync(join(root, path), 'utf8');
  const numberIn = (path: string, name: string) =>
    Number(new RegExp(`^(?:export )?const ${name} = (\\d+);$`, 'm').exec(sourceOf(path))?.[1]);

  it('has the sizes of the pools in the code', () => {
    const ofAdServer = numberIn('ad-server/worker.ts', 'CONNECTIONS') + 1; // and one of the catalog
    const ofRuntime = numberIn('processor/runtime.ts', 'MORE_CONNECTIONS');
    const single = globSync('processor/*.ts', { cwd: root })
      .map(sourceOf)
      .flatMap((source) => [...source.matchAll(/createPool\(config\.DATABASE_URL, '\w+', 1,/g)]);
    const ofProcessor = ofRuntime + single.length + 1; // and one of the reports of the part
    const [, tasks = ''] =
      /const repeated = \[(.*)\];/.exec(
        sourceOf('console/tasks/start-tasks.ts').replaceAll(/\w+\(config, logger\)/g, 'task'),
      ) ?? [];
    const ofConsole =
      ['console/serve.ts', 'console/webhooks/start-webhooks.ts', 'console/watch-database.ts']
        .map((path) => numberIn(path, 'CONNECTIONS'))
        .reduce((sum, connections) => sum + connections) +
      numberIn('console/api/long-requests.ts', 'LONG_REQUESTS_MAX') +
      2 * tasks.split(', ').length +
      3; // of the notifications of webhooks, of the gauges of the reconciliation, and of the reports of the part
    const [, ofTop] =
      /createPool\(stack\.databaseUrl, 'top', (\d+),/.exec(sourceOf('cli/commands/top.ts')) ?? [];
    expect(readPage('docs/running.md')).toContain(
      `| PostgreSQL connections | ${ofAdServer} for each ad server worker and 1 for each ad server, \`PARALLELIZATION\` + ${ofProcessor} for each processor ` +
        `(with Kinesis + ${ofProcessor + 1} instead), ${ofConsole} for each console, 2 for each command (\`top\`: ${ofTop}; \`failed-batches redrive\`: \`PARALLELIZATION\` + ${ofRuntime}) |`,
    );
    expect(sourceOf('deploy/kubernetes/processor.yaml')).toContain(
      `PARALLELIZATION + ${ofProcessor} connections`,
    );
  });
});

describe('docs/brokers.md', () => {
  it('shows a click event that Tollway accepts', () => {
    const [, text = ''] = /```json\n\s*(\{"v":1.*\})\n/.exec(readPage('docs/brokers.md')) ?? [];
    expect(readRecord({ key: null, value: Buffer.from(text) }, 'docs')).toMatchObject({ is: 'click' });
  });
});

describe('docs/deployment-targets.md', () => {
  const page = readPage('docs/deployment-targets.md');

  it('shows two entry files as they are', () => {
    for (const path of ['processor/main.ts', 'processor/functions/lambda-kinesis.ts'])
      expect(page).toContain(`\`\`\`ts\n${readFileSync(join(root, path), 'utf8').trimEnd()}\n\`\`\``);
  });

  it('names the entry files of all targets', () => {
    const [entries = ''] = rowsOf(page, 'what').filter((row) => row.startsWith('| entry |'));
    const named = [...entries.matchAll(/`([\w/-]+\.ts)`/g)].map(([, path = '']) =>
      path.replace(/^functions/, 'processor/functions'),
    );
    expect(named).toHaveLength(5);
    for (const path of named) expect(existsSync(join(root, path)), path).toBe(true);
  });

  it('computes costs by the formula it gives', () => {
    const rows = rowsOf(page, 'target').map((row) => row.split('|').map((cell) => cell.trim()));
    expect(rows.length).toBeGreaterThan(5);
    for (const [, target = '', clicks, cpuMs, dollars] of rows) {
      // A millisecond for a thousand clicks is a second for a million.
      const cpuSeconds = Number(cpuMs);
      const expected = target.startsWith('Lambda')
        ? (1e6 / Number(clicks)) * 0.0000002 + cpuSeconds * 0.00002303
        : cpuSeconds * 0.000009;
      expect(dollars, target).toBe(expected.toFixed(4));
    }
  });
});

describe('docs/troubleshooting.md', () => {
  const page = readPage('docs/troubleshooting.md');
  const sections = page.split('\n### ').slice(1);
  const code = globSync(
    '{ad-server,brokers,cli,common,console,ledger,migrations,processor,producer}/**/*.ts',
    {
      cwd: root,
    },
  )
    .map((path) => readFileSync(join(root, path), 'utf8'))
    .join('\n');

  it.each(sections.map((section) => [section.split('\n')[0] ?? '', section] as const))(
    'says of "%s" what causes it, how to check it, and how to fix it',
    (_, section) => {
      for (const part of ['**Cause:**', '**Check:**', '**Fix:**']) expect(section).toContain(`\n- ${part} `);
    },
  );

  it('quotes messages as the code writes them', () => {
    // What PostgreSQL and the system say is not in our code.
    const foreign = /^(relation "|could not extend|password authentication|ENOSPC|Tollway-Click: none)/;
    const quoted = [...page.matchAll(/`([A-Z][A-Za-z_, ]+: [^`]*…[^`]*|[A-Z][a-z]+ [^`]*…[^`]*)`/g)].map(
      ([, message = '']) => message,
    );
    const titles = sections.flatMap((section) => /^`([^`]+)`$/.exec(section.split('\n')[0] ?? '')?.[1] ?? []);
    const messages = [...new Set([...quoted, ...titles])].filter((message) => !foreign.test(message));
    expect(messages.length).toBeGreaterThan(15);
    const written = (part: string) => code.includes(part);
    const strange = messages.filter(
      (message) =>
        !message
          .split(/"?…"?/)
          .map((part) => part.trim())
          .every(written),
    );
    expect(strange).toEqual([]);
  });
});
