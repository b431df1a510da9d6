import { globSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { cruise, type ICruiseResult, type IForbiddenRuleType } from 'dependency-cruiser';
import { beforeAll, describe, expect, it } from 'vitest';
import { readSources, SOURCE_FOLDERS } from './support/source-folders.ts';

const ROOT = join(import.meta.dirname, '..');
const FOLDERS = [...SOURCE_FOLDERS, 'test'];

const PUBLISHER = '^brokers/publisher\\.ts$';
/** Modules that the entries of the functions share. */
const SHARED = '^processor/functions/(function-runtime|open-function|report-reconciliation)\\.ts$';
const BROKERS = readdirSync(join(ROOT, 'brokers'), { withFileTypes: true }).flatMap((entry) =>
  entry.isDirectory() ? [entry.name] : [],
);
/** Scripts that another program runs. */
const K6 = /^load-tests\/k6\//;
const OURS = `^(${FOLDERS.join('|')})/`;

/** The folders of the ledger. Each may import those before it, and the files that lie beside the folders. */
const LEDGER_FOLDERS = [
  ...['access', 'webhooks', 'charge', 'spools', 'reports', 'accounts', 'clicks', 'reconciliation'],
  ...['operations', 'live'],
];
/** Files beside these folders that work with all of them. The others import no folder. */
const WHOLE_LEDGER = '^ledger/(maintenance|output-json)\\.ts$';

/** A folder may import itself and these folders, nothing else of this repository. */
function layer(name: string, below: readonly string[], more: readonly string[] = []): IForbiddenRuleType {
  const allowed = [...[name, ...below].map((folder) => `^${folder}/`), ...more];
  return { name: `${name} imports down`, from: { path: `^${name}/` }, to: { path: OURS, pathNot: allowed } };
}

const RULES: IForbiddenRuleType[] = [
  layer('common', []),
  layer('contract', ['common']),
  layer('ledger', ['common', 'contract']),
  layer('brokers', ['common', 'contract', 'ledger']),
  layer('producer', ['common', 'contract'], [PUBLISHER]),
  layer('migrations', ['common', 'ledger']),
  layer('processor', ['common', 'contract', 'ledger', 'brokers']),
  layer('ad-server', ['common', 'contract', 'ledger', 'brokers', 'producer']),
  layer('console', ['common', 'contract', 'ledger', 'brokers', 'processor']),
  layer('deploy', []),
  ...LEDGER_FOLDERS.map((folder, index) => ({
    name: `ledger/${folder} imports the folders of the ledger before it`,
    from: { path: `^ledger/${folder}/` },
    to: {
      path: '^ledger/',
      pathNot: `^ledger/(${LEDGER_FOLDERS.slice(0, index + 1).join('|')})/|^ledger/(?!maintenance|output-json)[^/]+$`,
    },
  })),
  {
    name: 'what the folders of the ledger share imports none of them',
    from: { path: '^ledger/[^/]+$', pathNot: WHOLE_LEDGER },
    to: { path: '^ledger/[^/]+/' },
  },
  {
    name: 'nothing imports tests, load-tests, emulators, the command line or the build but themselves',
    from: { pathNot: '^(test|load-tests|emulators|cli|deploy)/' },
    to: { path: '^(test|load-tests|emulators|cli|deploy)/' },
  },
  {
    name: 'nothing imports the console but tests and load tests',
    from: { pathNot: '^(console|test|load-tests)/' },
    to: { path: '^console/' },
  },
  {
    name: 'fastify is known in the console, and nowhere else',
    from: { path: OURS, pathNot: '^(console|test)/' },
    to: { path: 'node_modules/(fastify|@fastify|@scalar|fastify-type-provider-zod)' },
  },
  {
    name: 'the live page runs in a browser: of the server it knows types, how CSV is written and how lists of clicks are read',
    from: { path: '^console/page/' },
    to: {
      path: OURS,
      pathNot: '^console/page/|^common/csv\\.ts$|^contract/click-list\\.ts$',
      dependencyTypesNot: ['type-only'],
    },
  },
  {
    name: 'nothing imports the live page but its tests',
    from: { path: OURS, pathNot: '^(console/page|test)/' },
    to: { path: '^console/page/' },
  },
  layer('emulators', ['common', 'contract']),
  {
    name: 'emulators are for tests and load tests',
    from: { pathNot: '^(test|load-tests|emulators)/' },
    to: { path: '^emulators/' },
  },
  { name: 'nothing imports tests but tests', from: { pathNot: '^test/' }, to: { path: '^test/' } },
  {
    name: 'the charging code imports no broker client, cloud SDK or HTTP module',
    from: { path: '^ledger/|^processor/(charge/|dispatch/|runtime\\.ts$)' },
    to: {
      path: [
        'node_modules/(kafkajs|@platformatic|@aws-sdk|@smithy|aws-lambda|undici|cloudevents|fastify|express)',
        '^(node:)?(http|https|http2|net|tls)$',
        '^common/node-http\\.ts$',
        '^brokers/(?!event-source\\.ts)',
        '^processor/(main\\.ts|functions/|events/)',
      ],
    },
  },
  {
    name: "Kafka's clients are known where Kafka is spoken to, and nowhere else",
    from: {
      path: OURS,
      pathNot: '^(brokers/kafka|emulators|load-tests|test)/',
    },
    to: { path: 'node_modules/(kafkajs|@platformatic/kafka)' },
  },
  {
    name: 'the API of OpenTelemetry is known in the telemetry, and nowhere else',
    from: { path: OURS, pathNot: '^(common/telemetry|test)/' },
    to: { path: 'node_modules/@opentelemetry' },
  },
  {
    name: 'node:http comes from common/node-http.ts, which loads it with less CPU time than an import',
    from: { path: OURS, pathNot: '^(common/node-http\\.ts$|(brokers/kinesis|emulators|load-tests|test)/)' },
    to: { path: '^(node:)?https?$', dependencyTypesNot: ['type-only'] },
  },
  {
    name: "AWS' clients are known where AWS is spoken to, and nowhere else",
    from: {
      path: OURS,
      pathNot:
        '^common/(s3|s3-upload|config/database-secret)\\.ts$|^(brokers/kinesis|emulators|load-tests|test)/',
    },
    to: { path: 'node_modules/@(aws-sdk|smithy)' },
  },
  ...BROKERS.map((name) => ({
    name: `${name} is replaced without the other brokers`,
    from: { path: `^brokers/${name}/` },
    to: { path: '^brokers/[^/]+/', pathNot: `^brokers/${name}/` },
  })),
  {
    name: 'a function is its entry: it reads the event of its platform, and has the rest from the function runtime',
    from: { path: '^processor/functions/', pathNot: SHARED },
    to: {
      path: OURS,
      pathNot: `^common/|^contract/|^processor/(events/|(maintenance-loop|charge-file)\\.ts$)|${SHARED}`,
    },
  },
  {
    name: 'nothing imports what is an entry',
    from: {},
    to: {
      path: '^(ad-server|processor|console)/main\\.ts$|^processor/functions/|^ad-server/lambda/main\\.ts$',
      pathNot: SHARED,
    },
  },
  { name: 'no cycles, of types neither', from: { path: OURS }, to: { circular: true } },
];

async function cruiseAll(): Promise<ICruiseResult> {
  const { output } = await cruise([...FOLDERS], {
    baseDir: ROOT,
    tsPreCompilationDeps: true,
    doNotFollow: { path: 'node_modules' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['node', 'import', 'default', 'types'],
    },
    validate: true,
    ruleSet: { forbidden: RULES },
  });
  if (typeof output === 'string') throw new Error(`Expected the result as an object, got ${output}`);
  return output;
}

/** Broken rules, a line each. */
function violations({ summary }: ICruiseResult): string[] {
  return summary.violations.map(({ rule, from, to }) => `${rule.name}: ${from} → ${to}`);
}

describe('the layers', () => {
  let result: ICruiseResult;
  beforeAll(async () => {
    result = await cruiseAll();
  });

  it('are all looked at, their type-only imports too', () => {
    const modules = result.modules.filter(
      ({ source }) => /\.tsx?$/.test(source) && !source.includes('node_modules'),
    );
    const seen = new Set(modules.map(({ source }) => source.split('/')[0]));
    expect([...seen].sort()).toEqual(FOLDERS.toSorted());
    const typeOnly = modules.flatMap(({ dependencies }) =>
      dependencies.filter(({ dependencyTypes }) => dependencyTypes.includes('type-only')),
    );
    expect(typeOnly.length).toBeGreaterThan(20);
  });

  it('have the folders of the ledger in their order', () => {
    const folders = readdirSync(join(ROOT, 'ledger'), { withFileTypes: true });
    expect(folders.filter((entry) => entry.isDirectory()).map(({ name }) => name)).toEqual(
      LEDGER_FOLDERS.toSorted(),
    );
  });

  it('import downwards only, without cycles', () => {
    expect(violations(result)).toEqual([]);
  });

  it('import nothing that cannot be found', () => {
    const missing = result.modules.flatMap(({ source, dependencies }) =>
      dependencies
        // k6 brings its own modules; the test of the script knows which there are.
        .filter(
          ({ couldNotResolve, module }) => couldNotResolve && !(K6.test(source) && /^k6(\/|$)/.test(module)),
        )
        .map(({ module }) => `${source} → ${module}`),
    );
    expect(missing).toEqual([]);
  });
});

/** Files that may read the environment, handle signals and end the process. */
const ENTRIES = [
  /\/main\.ts$/,
  /^migrations\/migrate\.ts$/,
  /^cli\//,
  /^processor\/functions\/(lambda-[a-z]+|openwhisk|cloud-event)\.ts$/,
  /^emulators\//,
  /^load-tests\//,
  /^test\//,
];
/** Every entry calls it: the one place that handles signals and ends the process. */
const RUN_PROCESS = 'common/process.ts';
/** Removes a copy of standard input also after a signal, which then ends the command as usual. Commands alone use it. */
const WHOLE_FILE = 'common/whole-file.ts';
/** The one place that reads the environment. Only entries may call it. */
const ENVIRONMENT = 'common/config/environment.ts';

describe('only entries', () => {
  const sources = readSources(FOLDERS).map(({ path, text }) => ({
    path,
    // Comments may name what the code may not do.
    text: text.replace(/\/\*[\s\S]*?\*\/|(^|\s)\/\/.*$/gm, ''),
  }));
  const offenders = (pattern: RegExp, except: readonly string[] = []) =>
    sources
      .filter(
        ({ path, text }) =>
          pattern.test(text) && !ENTRIES.some((entry) => entry.test(path)) && !except.includes(path),
      )
      .map(({ path }) => path);

  it('read the environment', () => {
    expect(
      offenders(/\bprocess\s*\.\s*env\b|\bprocess\s*\[|\{[^}]*\benv\b[^}]*\}\s*=\s*process\b/, [ENVIRONMENT]),
    ).toEqual([]);
    expect(offenders(/\breadEnvironment\b/, [ENVIRONMENT])).toEqual([]);
    expect(offenders(/import\s*\{[^}]*\b(env|exit|on|once)\b[^}]*\}\s*from\s*'(node:)?process'/)).toEqual([]);
  });

  it('install signal handlers', () => {
    expect(
      offenders(/\bprocess\s*\.\s*(on|once|addListener|prependListener)\s*\(/, [RUN_PROCESS, WHOLE_FILE]),
    ).toEqual([]);
  });

  it('end the process', () => {
    expect(offenders(/\bprocess\s*\.\s*(exit|abort|exitCode|reallyExit)\b/, [RUN_PROCESS])).toEqual([]);
  });

  it('are where these things are found at all', () => {
    const texts = new Map(sources.map(({ path, text }) => [path, text]));
    expect(texts.get('ad-server/main.ts')).toContain('readEnvironment()');
    expect(texts.get(ENVIRONMENT)).toContain('process.env');
    expect(texts.get(RUN_PROCESS)).toContain('process.exit');
    expect(texts.get(RUN_PROCESS)).toContain('process.on(');
  });
});

/** Node 20, the newest of OpenWhisk, lacks them (emulators/openwhisk/proxy.ts removes them from its runtime). */
const NEWER_THAN_NODE_20 =
  /\b(Map|Object)\.groupBy\b|\bPromise\.(withResolvers|try)\b|\bArray\.fromAsync\b|\.(union|intersection|difference|isSubsetOf)\(/;

describe('functions', () => {
  it('use no feature that the Node of OpenWhisk lacks', () => {
    const offenders = readSources(['common', 'contract', 'ledger', 'brokers', 'processor'])
      .filter(({ text }) => NEWER_THAN_NODE_20.test(text.replace(/\/\*[\s\S]*?\*\/|(^|\s)\/\/.*$/gm, '')))
      .map(({ path }) => path);
    expect(offenders).toEqual([]);
  });
});

describe('SQL of the tables', () => {
  // Load tests and benchmarks compare with the tables from outside, so they have queries of their own.
  const WITHOUT_TABLES = FOLDERS.filter(
    (name) => !['ledger', 'brokers', 'migrations', 'load-tests', 'test'].includes(name),
  );
  const migrations = globSync('migrations/*.sql', { cwd: ROOT }).map((path) =>
    readFileSync(join(ROOT, path), 'utf8'),
  );
  const tables = migrations.flatMap((text) =>
    [...text.matchAll(/^create table (\w+)/gm)].map(([, name]) => name),
  );
  const naming = new RegExp(`\\b(from|into|update|join|table|only)\\s+(${tables.join('|')})\\b`);
  /** Texts between quotes of any kind: comments and identifiers may name a table. */
  const textsOf = (source: string) => source.match(/`[^`]*`|'[^'\n]*'|"[^"\n]*"/g) ?? [];

  it('stands in ledger/, brokers/ and migrations/', () => {
    expect(tables).toContain('spent_nonce');
    const found = readSources(WITHOUT_TABLES).filter(({ text }) =>
      textsOf(text).some((one) => naming.test(one)),
    );
    expect(found.map(({ path }) => path)).toEqual([]);
  });

  it('is noticed', () => {
    expect(naming.test('select count(*) from dead_letter where discarded_at is null')).toBe(true);
    expect(
      textsOf("query(`select\n from ledger`, 'update ad set x')").some((text) => naming.test(text)),
    ).toBe(true);
  });
});
