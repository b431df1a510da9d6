import { type ChildProcess, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { nodeFlagsOf } from '../../cli/start/node-flags.ts';
import { type Stack, writeStack } from '../../cli/start/stack.ts';
import { formatLinkKeys } from '../../common/config/link-keys.ts';
import { createPool } from '../../common/postgres/postgres.ts';
import { sleep } from '../../common/process.ts';
import { freePorts } from '../../emulators/process/free-ports.ts';
import type { LoadReport } from '../report/report.ts';
import type { BenchContext } from './bench.ts';
import { ROOT } from './checkout.ts';
import { commandOf } from './npm-script.ts';
import { findDescendant, readProcesses } from './process-cpu.ts';
import { startStack } from './stack-process.ts';

const AD_SERVER = 'ad-server/main.ts';
const READY_MS_MAX = 30_000;
/** Share of the arrivals that must be sent in time, and that may be shed; and longest wait of a click for its charge. */
const OFFERED_SHARE_MIN = 0.8;
const SHED_SHARE_MAX = 0.05;
const BACKLOG_SECONDS_MAX = 3;
/** Longest wait of a load for clicks that are not in the ledger yet. Without a broker none arrives. */
const WAIT = { relayed: '60s', spooled: '1s' } as const;

/** `relayed`: the ad server of the stack. `spooled`: one that reaches no broker, so that its clicks stay in its spool. */
export type Path = keyof typeof WAIT;

/** The stack of a checkout on Kafka, with a second ad server that reaches no broker. */
export type ClickStack = {
  readonly root: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly dataDirs: Readonly<Record<Path, string>>;
  /** Process ids. */
  readonly adServers: Readonly<Record<Path, number>>;
  readonly processor: number;
  readonly postgres: number;
  readonly console: number;
  /** The number of clicks that were settled between two times, in ms since 1970. */
  readonly countSettled: (fromMs: number, toMs: number) => Promise<number>;
};

/** Starts the stack of a checkout on a Kafka, with a topic of its own. Everything is started by the entry files of that checkout. */
export async function startClickStack(
  root: string,
  name: string,
  brokers: string,
  context: BenchContext,
): Promise<ClickStack> {
  const settings = {
    // The other commit may not know them.
    ...(root === ROOT && context.settings),
    BROKER: 'kafka',
    KAFKA_BROKERS: brokers,
    KAFKA_TOPIC: `cpu-per-click-${name}`,
    KAFKA_GROUP: `cpu-per-click-${name}`,
    LINK_KEYS: formatLinkKeys([{ id: 'bench', state: 'signs', secret: randomBytes(32) }]),
  };
  const env = { ...context.env, ...settings };
  createTopic(root, env);
  const { stack, pid } = await startStack(root, settings, context);
  const processes = readProcesses();
  const find = (entry: string) => {
    const found = findDescendant(processes, pid, entry);
    if (found === null) throw new Error(`Expected ${entry} below process ${pid}, got none`);
    return found;
  };
  const spooled = await startWithoutBroker(root, stack, env, context);
  const pool = createPool(stack.databaseUrl, 'bench', 1, () => {});
  context.resources.add({ name: 'connections', close: () => pool.end() });
  return {
    root,
    env,
    dataDirs: { relayed: stack.dataDir, spooled: spooled.dataDir },
    adServers: { relayed: find('ad-server/main.'), spooled: spooled.pid },
    processor: find('processor/main.'),
    console: find('console/main.'),
    countSettled: async (fromMs, toMs) => {
      const { rows } = await pool.query<{ count: number }>(
        'select count(*)::int as count from ledger where settled_at >= $1 and settled_at < $2',
        [new Date(fromMs), new Date(toMs)],
      );
      return rows[0]?.count ?? 0;
    },
    postgres: Number(readFileSync(join(stack.dataDir, 'postgres/postmaster.pid'), 'utf8').split('\n')[0]),
  };
}

function createTopic(root: string, env: ClickStack['env']): void {
  const [program = '', ...args] = [...commandOf(root, 'tollway'), 'topics', 'create'];
  const { status, stderr } = spawnSync(program, args, { cwd: root, env, encoding: 'utf8' });
  if (status !== 0) throw new Error(`Expected to create a topic, got: ${stderr.trim()}`);
}

/**
 * Starts another ad server on the database of a stack, whose Kafka is a port on which nothing listens. Its folder has the file of a stack that
 * names it, so that a load test finds it and reads its metrics as it does those of the stack.
 */
async function startWithoutBroker(
  root: string,
  stack: Stack,
  env: ClickStack['env'],
  { resources }: BenchContext,
): Promise<{ pid: number; dataDir: string }> {
  const dataDir = resources.folder();
  const [port, opsPort, closedPort] = await freePorts(3);
  const child = resources.child([process.execPath, ...nodeFlagsOf(AD_SERVER), join(root, AD_SERVER)], {
    cwd: root,
    env: {
      ...env,
      DATA_DIR: dataDir,
      DATABASE_URL: stack.databaseUrl,
      KAFKA_BROKERS: `127.0.0.1:${closedPort}`,
      AD_SERVER_HOST: '127.0.0.1',
      AD_SERVER_PORT: String(port),
      AD_SERVER_OPS_PORT: String(opsPort),
      PUBLIC_URL: `http://127.0.0.1:${port}`,
      LOG_LEVEL: 'silent',
    },
  });
  await untilAnswers(`http://127.0.0.1:${port}/`, child);
  writeStack({
    ...stack,
    dataDir,
    adServerUrl: `http://127.0.0.1:${port}`,
    adServerOpsUrl: `http://127.0.0.1:${opsPort}`,
  });
  return { pid: child.pid ?? 0, dataDir };
}

async function untilAnswers(url: string, child: ChildProcess): Promise<void> {
  for (const deadline = performance.now() + READY_MS_MAX; ; await sleep(100)) {
    const isAnswered = await fetch(url).then(
      () => true,
      () => false,
    );
    if (isAnswered) return;
    if (child.exitCode !== null || performance.now() > deadline)
      throw new Error(`Expected an ad server at ${url}, got no answer`);
  }
}

/** A load of constant rate after a ramp. */
export type ConstantLoad = {
  readonly perSecond: number;
  readonly rampSeconds: number;
  readonly holdSeconds: number;
};

/** Starts the load test `soak` of the stack's checkout on one of its ad servers. */
export function startLoad(
  stack: ClickStack,
  path: Path,
  { perSecond, rampSeconds, holdSeconds }: ConstantLoad,
  { resources }: BenchContext,
): { readonly pid: number; readonly report: Promise<LoadReport> } {
  const times = ['--ramp', `${rampSeconds}s`, '--hold', `${holdSeconds}s`, '--wait', WAIT[path]];
  const program = [...commandOf(stack.root, 'load'), 'soak'];
  const options = ['--base', String(perSecond), ...times, '--json', '--no-report'];
  const child = resources.child([...program, ...options], {
    cwd: stack.root,
    env: { ...stack.env, DATA_DIR: stack.dataDirs[path] },
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  });
  return { pid: child.pid ?? 0, report: readReport(child, path) };
}

/**
 * Reads the report that a load test prints with `--json` when it ends. Throws `MachineTooSlow`, and an error if a click is missing or the books
 * do not balance.
 */
export async function readReport(child: ChildProcess, path: Path): Promise<LoadReport> {
  const output = { json: '', errors: '' };
  child.stdout?.on('data', (bytes) => {
    output.json += bytes;
  });
  child.stderr?.on('data', (bytes) => {
    output.errors += bytes;
  });
  await new Promise((closed) => child.once('close', closed));
  if (output.json === '') throw new Error(`Expected the report of a load, got: ${output.errors.trim()}`);
  // The report of the other checkout: the fields of --json are stable.
  const report = JSON.parse(output.json) as LoadReport;
  const tooSlow = slownessOf(report, path);
  if (tooSlow !== null) throw new MachineTooSlow(tooSlow);
  // Clicks without a broker are missing in the ledger.
  const isWrong =
    report.ledger.missing > 0 || report.ledger.duplicateIds > 0 || !report.reconciliation.balanced;
  if (report.failed > 0 || (path === 'relayed' && isWrong))
    throw new Error(`The load failed: ${report.reasons.join('; ')}`);
  return report;
}

/** The machine was too slow for the load, such as because of other programs. The load can be repeated. */
export class MachineTooSlow extends Error {}

function slownessOf({ phases, arrivals, shed, backlogMaxSeconds }: LoadReport, path: Path): string | null {
  const hold = phases.at(-1);
  const offered = (hold?.offeredPerSecond ?? 0) / (hold?.targetPerSecond ?? 1);
  if (shed > arrivals * SHED_SHARE_MAX || offered < OFFERED_SHARE_MIN)
    return `${(offered * 100).toFixed(0)} % of the arrivals were sent in time, ${shed} arrivals were shed`;
  // The clicks of a spool without a broker wait forever.
  const seconds = path === 'relayed' ? (backlogMaxSeconds ?? 0) : 0;
  return seconds > BACKLOG_SECONDS_MAX ? `clicks waited ${seconds.toFixed(1)} s for their charge` : null;
}
