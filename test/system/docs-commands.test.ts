import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createPool } from '../../common/postgres/postgres.ts';
import { uuidV7 } from '../../common/uuid.ts';
import {
  abridged,
  type CommandBlock,
  commandBlocks,
  comparableLines,
  type Numbers,
  UUID,
} from '../support/doc-blocks.ts';
import { ROOT } from '../support/imports.ts';
import { readPage } from '../support/markdown.ts';
import { isSkipped } from '../support/skipped.ts';
import { stackEnv, startStack, type TestStack } from '../support/stack.ts';
import { suiteFolder } from '../support/temporary-folder.ts';
import { until } from '../support/until.ts';

/** What a reader needs for a block that no test runs: the text after `# needs ` in the block. */
const NEEDS = [
  'a Kafka broker',
  'an AWS account',
  'Docker',
  'k6',
  'an OpenTelemetry collector',
  'root on a host with systemd',
];

/** Parts of commands and what replaces them, so that a block is quick and writes only into the folder of the test, `$FOLDER`. */
type Changes = readonly (readonly [string, string])[];

/** How the tests run a block of commands. */
type Run =
  /** It starts the stack on which the other blocks run. */
  | { readonly is: 'start' }
  /** Bash runs it, and it ends with exit code 0. */
  | { readonly is: 'commands'; readonly changes?: Changes; readonly numbers?: Numbers }
  /** Bash runs it on an empty database, `$DATABASE`: lines with `main.ts` are servers, which become ready. */
  | { readonly is: 'servers'; readonly changes: Changes }
  /** Another test runs what it is about; `names` is in its source. */
  | { readonly is: 'elsewhere'; readonly test: string; readonly names: string };

const SHORT = '--base 20 --factor 5 --ramp 1s --hold 2s';

/** Every block of commands without `# needs …`, by its page and the beginning of its first command. */
const RUNS: Readonly<Record<string, Run>> = {
  'README.md: npm ci': { is: 'start' },
  'README.md: curl': { is: 'commands' },
  'README.md: npx tollway click show': { is: 'commands' },
  'README.md: npm run load -- spike': {
    is: 'commands',
    changes: [['spike', `spike ${SHORT}`]],
    numbers: 'masked',
  },
  'examples/README.md: python3': {
    is: 'elsewhere',
    test: 'test/examples.test.ts',
    names: 'sign_link.py',
  },
  // All blocks of the page, in their order.
  'docs/api.md': { is: 'elsewhere', test: 'test/system/api-page.test.ts', names: 'docs/api.md' },
  'docs/brokers.md: acl()': {
    is: 'elsewhere',
    test: 'test/brokers/kafka-acls.test.ts',
    names: 'kafka-acls.sh',
  },
  // All blocks of the page, in their order.
  'docs/api-month.md': {
    is: 'elsewhere',
    test: 'test/system/month-by-api.test.ts',
    names: 'docs/api-month.md',
  },
  'docs/campaigns.md': { is: 'elsewhere', test: 'test/system/month.test.ts', names: 'docs/campaigns.md' },
  'docs/deployment-targets.md: npm run build:functions': {
    is: 'elsewhere',
    test: 'test/functions/build.test.ts',
    names: 'buildFunctions',
  },
  'docs/exports.md: npx tollway export': {
    is: 'commands',
    changes: [
      ['--to exports', '--to "$FOLDER"/exports'],
      ['--since 2026-01-01', '--since 3d'],
    ],
  },
  'docs/running.md: createdb': { is: 'elsewhere', test: 'test/system/roles.test.ts', names: 'roles.sql' },
  'docs/running.md: echo "k1:signs:': { is: 'commands' },
  'docs/running.md: export DATABASE_URL': {
    is: 'servers',
    changes: [
      ['postgres://…', '"$DATABASE"'],
      ['LINK_KEYS=…', `LINK_KEYS=k1:signs:${'A'.repeat(43)}`],
    ],
  },
  'docs/running.md: tollway samples add': { is: 'commands', changes: [['tollway ', 'npx tollway ']] },
  'docs/running.md: npx tollway key create': { is: 'commands' },
  'docs/running.md: npx tollway login': { is: 'commands' },
  'docs/running.md: npx tollway audit list': {
    is: 'commands',
    changes: [['> audit.ndjson', '> "$FOLDER"/audit.ndjson']],
  },
  'docs/running.md: pg_basebackup': {
    is: 'elsewhere',
    test: 'test/system/restore.test.ts',
    names: 'pg_basebackup',
  },
  'docs/running.md: touch': {
    is: 'elsewhere',
    test: 'test/system/restore.test.ts',
    names: 'recovery.signal',
  },
  'docs/troubleshooting.md: npx tollway status': {
    is: 'commands',
    changes: [
      ['http://127.0.0.1:8081', '"http://127.0.0.1:$AD_SERVER_OPS_PORT"'],
      ['<click id>', UUID.exec(readPage('README.md'))?.[0] ?? ''],
    ],
  },
  'docs/load-tests.md: npm run load -- spike': {
    is: 'commands',
    changes: [
      ['--base 1000 --hold 2m', SHORT],
      ['p99<=25ms', 'p99<=5000ms'],
      // A replay fails if it sends clicks late, which a busy machine does at a high rate.
      ['--speed 10x', '--speed 4x'],
      ['day.ndjson.gz', '"$FOLDER"/day.ndjson.gz'],
    ],
  },
};

const nameOf = ({ page, first }: CommandBlock) => `${page}: ${first}`;
const blocks = commandBlocks();
const named = blocks.map((block) => [nameOf(block), block] as const);
const keysOf = (name: string) => Object.keys(RUNS).filter((key) => name.startsWith(key));
const runs = named.flatMap(([name, block]) =>
  block.needs === null ? keysOf(name).flatMap((key) => ({ name: key, block, run: RUNS[key] as Run })) : [],
);

describe('the commands of the README and of docs/', () => {
  it('are many', () => {
    expect(blocks.length).toBeGreaterThan(8);
  });

  it.each(named)('%s is run by a test, or names what it needs in a line "# needs …"', (name, { needs }) => {
    if (needs === null) expect(keysOf(name)).toHaveLength(1);
    else expect(NEEDS).toContain(needs);
  });

  it('are all that the table of this test has', () => {
    expect(Object.keys(RUNS).sort()).toEqual([...new Set(runs.map(({ name }) => name))].sort());
    expect(NEEDS.filter((need) => !blocks.some(({ needs }) => needs === need))).toEqual([]);
  });

  it.each(runs.flatMap(({ name, run }) => (run.is === 'elsewhere' ? [{ name, ...run }] : [])))(
    '$name is run by $test',
    ({ test, names }) => {
      expect(readFileSync(join(ROOT, test), 'utf8')).toContain(names);
    },
  );
});

describe('the comparison of an output with a page', () => {
  const compare = (output: string, shown: string) => {
    const lines = comparableLines(shown, 'exact');
    return expect(abridged(comparableLines(output, 'exact'), lines)).toEqual(lines);
  };

  it('takes other ids, and any lines for an ellipsis', () => {
    compare(`a ${uuidV7()}\nb\nc\nd  1\n\ne\n`, 'a 01a21ba3-6dae-761d-8ca5-30a5e1f3a543\n…\nd 1\n…\n');
  });

  it.each([
    ['a\nb\n', 'a\n'],
    ['a\n', 'a\nb\n'],
    ['a\nb\n', '…\nc\n'],
    ['b\na\n', 'a\n…\n'],
    ['spent 0.25', 'spent 0.50'],
  ])('does not take %j for %j', (output, shown) => {
    expect(() => compare(output, shown)).toThrow();
  });
});

const noCurl = spawnSync('curl', ['--version']).error ? 'commands of the pages: install curl' : null;

describe.skipIf(isSkipped(noCurl))('beside a running npm start', () => {
  const folder = suiteFolder();
  let stack: TestStack;
  beforeAll(async () => {
    stack = await startStack(await stackEnv(folder));
  });
  afterAll(async () => {
    await stack.stop();
  });

  /** A bash that runs commands in a process group of its own. */
  const bash = (script: string, env: NodeJS.ProcessEnv) =>
    spawn('bash', ['-e', '-o', 'pipefail', '-c', script], {
      cwd: ROOT,
      env: { ...env, FOLDER: folder },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });

  /** Runs commands to their end and returns what they have printed. A load that a busy machine could not offer in time is offered again. */
  const runToEnd = async (script: string, env: NodeJS.ProcessEnv, attempts = 3): Promise<string> => {
    const child = bash(script, env);
    const [output, errors, [code]] = await Promise.all([
      text(child.stdout),
      text(child.stderr),
      once(child, 'exit'),
    ]);
    if (attempts > 1 && output.includes('this machine was too slow'))
      return runToEnd(script, env, attempts - 1);
    expect(code, `${output}\n${errors}`).toBe(0);
    return output;
  };

  const changed = (commands: string, changes: Changes = []) =>
    changes.reduce((script, [from, to]) => {
      expect(script).toContain(from);
      return script.replaceAll(from, to);
    }, commands);

  /** The ids that pages show, and those that the commands have printed in their places. Later commands use them. */
  const printedIds = new Map<string, string>();
  const withPrintedIds = (commands: string) =>
    [...printedIds].reduce((script, [shown, printed]) => script.replaceAll(shown, printed), commands);

  const expectShown = (output: string, shown: string | null, numbers: Numbers = 'exact') => {
    if (shown === null) return;
    const lines = comparableLines(shown, numbers);
    expect(abridged(comparableLines(output, numbers), lines)).toEqual(lines);
    const printed = output.match(UUID) ?? [];
    for (const [index, id] of (shown.match(UUID) ?? []).entries()) printedIds.set(id, printed[index] ?? id);
  };

  /** Creates a database beside that of the stack, and returns its URL. */
  const createDatabase = async (name: string) => {
    const { stdout } = await stack.tollway('status', '--json');
    const { databaseUrl } = JSON.parse(stdout) as { databaseUrl: string };
    const pool = createPool(databaseUrl, 'test', 1, () => {});
    await pool.query(`create database ${name}`);
    await pool.end();
    return databaseUrl.replace(/[^/]+$/, name);
  };

  it.each(runs.filter(({ run }) => run.is === 'start'))('$name prints what the page shows', ({ block }) => {
    expectShown(stack.printed().replaceAll(String(stack.env.DATA_DIR), '.tollway'), block.output);
  });

  it.each(runs.flatMap(({ name, block, run }) => (run.is === 'commands' ? [{ name, block, run }] : [])))(
    '$name works, and prints what the page shows',
    { timeout: 120_000 },
    async ({ block, run }) => {
      const output = await runToEnd(withPrintedIds(changed(block.commands, run.changes)), stack.env);
      expectShown(output, block.output, run.numbers);
      // What the next block shows is settled.
      await until('settled books', async () => (await stack.tollway('reconcile', '--settled')).code === 0);
    },
  );

  it.each(runs.flatMap(({ name, block, run }) => (run.is === 'servers' ? [{ name, block, run }] : [])))(
    '$name starts servers that become ready',
    { timeout: 60_000 },
    async ({ block, run }) => {
      const env = await stackEnv(join(folder, 'servers'), { DATABASE: await createDatabase('servers') });
      const inBackground = changed(block.commands, run.changes).replaceAll(/main\.ts'/g, '$& &');
      // If the test is killed, the servers of its process group end after a minute.
      const child = bash(`(sleep 60; kill 0) &\n${inBackground}\nwait`, env);
      child.stdout.resume();
      const errors = text(child.stderr);
      const closed = once(child, 'close');
      const isReady = async (port: string | undefined) => {
        if (child.exitCode !== null) throw new Error(await errors);
        return (await fetch(`http://127.0.0.1:${port}/readyz`).catch(() => null))?.ok;
      };
      try {
        for (const port of [env.AD_SERVER_OPS_PORT, env.PROCESSOR_OPS_PORT])
          await until(`a server on port ${port}`, () => isReady(port), 30_000);
      } finally {
        process.kill(-(child.pid ?? 0), 'SIGTERM');
        await closed;
      }
    },
  );
});
