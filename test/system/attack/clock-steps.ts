/**
 * Attack: the wall clock of an ad server and a processor is stepped back 3 hours and ahead 3 hours while they run, by libfaketime; the
 * database keeps the true time. In each phase clicks come, and the connection to the database is cut for a while. Run it by hand:
 *
 *     npx -c 'node test/system/attack/clock-steps.ts'
 *
 * Prints one line per check and exits 1 when one fails. Needs libfaketime (the package `faketime` of Debian).
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, globSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pino } from 'pino';
import { addSamples } from '../../../cli/samples.ts';
import { makeDataDir, startEmbeddedPostgres } from '../../../cli/start/embedded-postgres.ts';
import { parseConfig } from '../../../common/config/config.ts';
import { createPool, type Pool } from '../../../common/postgres/postgres.ts';
import { sleep } from '../../../common/process.ts';
import { uuidV7TimeMs } from '../../../common/uuid.ts';
import { freePorts } from '../../../emulators/process/free-ports.ts';
import { retentionOf } from '../../../ledger/partitions.ts';
import { migrate } from '../../../migrations/migrate.ts';
import { clickLink } from '../../support/clicks.ts';
import { tollway } from '../../support/run-script.ts';
import { BROWSER } from '../../support/stack.ts';
import { startTcpProxy, type TcpProxy } from '../../support/tcp-proxy.ts';
import { makeFolder, removeFolder } from '../../support/temporary-folder.ts';
import { until } from '../../support/until.ts';
import { check } from './report-check.ts';
import { metricIn, readPage, type Watch, watchSignals } from './watch-signals.ts';

const HOURS_3 = 10_800;
const CLICKS_PER_SECOND = 20;
const BEFORE_MS = 10_000;
const OUTAGE_MS = 8_000;
/** With what came before, longer than the 30 s in which a failure is logged once. */
const AFTER_MS = 20_000;
const SETTLED_MS_MAX = 30_000;
/** Largest age of what waits in a phase, in seconds: the outage, a poll and a retry. */
const AGE_MAX_SECONDS = 20;
/** Tolerance of the time in a click id, in ms. */
const CLOCK_MS = 2_000;
const PRICE_MICROS = 250_000;

/**
 * `offset` is what the wall clock is ahead of the true time in a phase, in seconds. `jump` is what the age of clicks may be too large for a
 * moment, in seconds: the times of clicks from before a step ahead are compared with the clock after it.
 */
type Phase = {
  readonly name: string;
  readonly offset: number;
  readonly isDuringOutage: boolean;
  readonly jump: number;
};
const PHASES: readonly Phase[] = [
  { name: 'back 3 h', offset: -HOURS_3, isDuringOutage: false, jump: 0 },
  { name: 'ahead 3 h, to the true time', offset: 0, isDuringOutage: false, jump: 0 },
  { name: 'ahead 3 h of the true time', offset: HOURS_3, isDuringOutage: false, jump: 0 },
  {
    name: 'back 3 h, to the true time, while clicks wait in the spool',
    offset: 0,
    isDuringOutage: true,
    jump: 0,
  },
  { name: 'ahead 3 h while clicks wait in the spool', offset: HOURS_3, isDuringOutage: true, jump: HOURS_3 },
];

type StartedProcess = { readonly child: ChildProcess; readonly lines: () => readonly string[] };
type Watches = { readonly adServer: Watch; readonly processor: Watch };
type Setup = {
  readonly pool: Pool;
  readonly proxy: TcpProxy;
  readonly links: string[];
  readonly step: (offset: number) => void;
  readonly adServer: StartedProcess & { readonly opsUrl: string };
  readonly processor: StartedProcess & { readonly opsUrl: string };
};

/** Every click that was answered and recorded, over all phases. */
const clickIds: string[] = [];

function startPart(script: string, env: NodeJS.ProcessEnv): StartedProcess {
  const child = spawn(process.execPath, [script], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  let printed = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text) => {
      printed += text;
    });
  return { child, lines: () => printed.split('\n').filter((line) => line !== '') };
}

/** Clicks at an even rate until it is stopped; resolves to how many were sent. */
async function clickUntil(links: string[], stopping: AbortSignal): Promise<number> {
  const clicks: Promise<void>[] = [];
  while (!stopping.aborted) {
    const agent = BROWSER.replace('Chrome/142.0', `Chrome/142.${links.length}`);
    const one = clickLink(links.pop() ?? '', { 'user-agent': agent });
    clicks.push(
      one.then(
        ({ clickId }) => void (clickId !== null && clickIds.push(clickId)),
        () => undefined,
      ),
    );
    await sleep(1_000 / CLICKS_PER_SECOND, stopping);
  }
  await Promise.all(clicks);
  return clicks.length;
}

async function run(phase: Phase, setup: Setup): Promise<void> {
  const { proxy, step, adServer, processor } = setup;
  const answeredBefore = clickIds.length;
  const linesBefore = [adServer, processor].map(({ lines }) => lines().length);
  if (!phase.isDuringOutage) step(phase.offset);
  const stopping = new AbortController();
  const sending = clickUntil(setup.links, stopping.signal);
  const watches = { adServer: watchSignals(adServer.opsUrl), processor: watchSignals(processor.opsUrl) };
  await sleep(BEFORE_MS);
  await proxy.cut();
  await sleep(OUTAGE_MS / 2);
  if (phase.isDuringOutage) step(phase.offset);
  await sleep(OUTAGE_MS / 2);
  await proxy.restore();
  await sleep(AFTER_MS);
  const lastId = clickIds.at(-1) ?? '';
  const aheadMs = uuidV7TimeMs(lastId) - Date.now();
  stopping.abort();
  const sent = await sending;

  const { name } = phase;
  check(
    `${name}: the processes see the step`,
    Math.abs(aheadMs - phase.offset * 1_000) < CLOCK_MS,
    `${(aheadMs / 1_000).toFixed(1)} s ahead`,
  );
  const answered = clickIds.length - answeredBefore;
  check(`${name}: every click is answered and recorded`, answered === sent, `${answered} of ${sent}`);
  await checkSettled(name, setup);
  await Promise.all([watches.adServer.stop(), watches.processor.stop()]);
  checkAges(phase, watches);
  const logged = [adServer, processor].map(({ lines }, index) => lines().slice(linesBefore[index]));
  checkLogs(name, logged[0] ?? [], logged[1] ?? []);
}

/** Waits until all is charged, and holds that gauges and watermarks follow. */
async function checkSettled(name: string, { pool, adServer, processor }: Setup): Promise<void> {
  const settled = async () => {
    const { rows } = await pool.query<{ count: number; charged: number }>(
      `select count(*)::integer as count, coalesce(sum(charged_micros), 0)::float8 as charged from ledger
       where click_id = any($1::uuid[])`,
      [clickIds],
    );
    return rows[0] ?? { count: 0, charged: 0 };
  };
  await until(
    'the clicks in the ledger',
    async () => (await settled()).count >= clickIds.length,
    SETTLED_MS_MAX,
  ).catch(() => undefined);
  const { count, charged } = await settled();
  const owed = clickIds.length * PRICE_MICROS;
  check(
    `${name}: every click is charged once`,
    count === clickIds.length && charged === owed,
    `${count} of ${clickIds.length}, ${charged} of ${owed} micros`,
  );
  const { rows: spents } = await pool.query<{ spent: number }>(
    'select spent_micros / 1e6::float8 as spent from advertiser where id = 1',
  );
  const spent = spents[0]?.spent;
  check(`${name}: the advertiser's budget says the same`, spent === owed / 1e6, spent);

  const gauge = async (opsUrl: string, metric: string) =>
    metricIn((await readPage(opsUrl, 'metrics')).text, metric);
  const spentGauge = () =>
    gauge(processor.opsUrl, 'tollway_advertiser_budget_spent\\{advertiser="1",currency="USD"\\}');
  await until('the gauge of the spent amount', async () => (await spentGauge()) === spent, 15_000).catch(
    () => undefined,
  );
  const shown = await spentGauge();
  check(
    `${name}: the gauges of the processor go on`,
    shown === spent,
    `tollway_advertiser_budget_spent ${shown}`,
  );

  const accepted = async () => {
    const { rows } = await pool.query<{ accepted: number }>(
      `select coalesce(max(accepted), 0)::float8 as accepted
       from (select accepted from spool_counter union all select accepted from spool_total) as watermark`,
    );
    return rows[0]?.accepted;
  };
  await until('the watermarks', async () => (await accepted()) === clickIds.length, 15_000).catch(
    () => undefined,
  );
  const marked = await accepted();
  check(`${name}: watermarks are sent`, marked === clickIds.length, `${marked} of ${clickIds.length} clicks`);
  const pages = await Promise.all([adServer, processor].map(({ opsUrl }) => readPage(opsUrl, 'readyz')));
  const said = pages.map(({ text }) => text.trim().replaceAll('\n', ' '));
  check(
    `${name}: both parts are ready`,
    said.every((text) => text === 'ready'),
    said.join(', '),
  );
}

function checkAges({ name, jump }: Phase, { adServer, processor }: Watches): void {
  const ages = [
    [adServer, 'tollway_catalog_age_seconds'],
    [adServer, 'tollway_spool_oldest_click_age_seconds'],
    [processor, 'tollway_broker_oldest_click_age_seconds'],
  ] as const;
  for (const [watch, metric] of ages) {
    const values = watch.values(metric);
    const [least, most] = [Math.min(...values), Math.max(...values)];
    const atLast = values.at(-1) ?? Number.NaN;
    const mostAllowed = AGE_MAX_SECONDS + (metric === 'tollway_catalog_age_seconds' ? 0 : jump);
    check(
      `${name}: ${metric} is from 0 to ${mostAllowed}, and at last to ${AGE_MAX_SECONDS}`,
      least >= 0 && most <= mostAllowed && atLast <= AGE_MAX_SECONDS,
      `from ${least.toFixed(1)} to ${most.toFixed(1)}, at last ${atLast.toFixed(1)}`,
    );
  }
  const atLast = adServer.values('tollway_catalog_age_seconds').at(-1) ?? Number.NaN;
  check(`${name}: the catalog is polled`, atLast < 5, `age ${atLast.toFixed(1)} s at the end`);
}

/** Both parts have to log their failure in the outage, and its end, and no more than that again and again. */
function checkLogs(name: string, adServer: readonly string[], processor: readonly string[]): void {
  const parts = [
    ['ad server', adServer, 'The broker does not accept clicks', 'The broker accepts clicks again'],
    ['ad server', adServer, 'The ad catalog cannot be read', 'The ad catalog can be read again'],
    ['processor', processor, 'The database does not answer', 'The database answers the processor again'],
    ['processor', processor, 'The processor cannot read from the', 'The processor reads from the'],
  ] as const;
  for (const [part, lines, failed, recovered] of parts) {
    const count = (text: string) => lines.filter((line) => line.includes(text)).length;
    const [failures, recoveries] = [count(failed), count(recovered)];
    check(
      `${name}: the ${part} logs "${failed}" and "${recovered}"`,
      failures === 1 && recoveries === 1,
      `${failures} and ${recoveries} lines`,
    );
  }
}

async function startParts(
  folder: string,
  databaseUrl: string,
  proxyUrl: string,
): Promise<Omit<Setup, 'pool' | 'proxy'>> {
  const [library] = globSync('/usr/lib/*/faketime/libfaketimeMT.so.1');
  if (library === undefined) throw new Error('Expected libfaketime: install the package faketime');
  const clockFile = join(folder, 'clock');
  const step = (offset: number) => {
    writeFileSync(`${clockFile}.new`, `${offset < 0 ? '' : '+'}${offset}\n`);
    renameSync(`${clockFile}.new`, clockFile);
  };
  step(0);
  const [publicPort, adOps, processorOps] = await freePorts(3);
  const env = {
    ...process.env,
    DATABASE_URL: databaseUrl,
    DATA_DIR: join(folder, 'parts'),
    LINK_KEYS: 'k1:signs:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8',
    PUBLIC_URL: `http://127.0.0.1:${publicPort}`,
    AD_SERVER_PORT: String(publicPort),
    AD_SERVER_OPS_PORT: String(adOps),
    PROCESSOR_OPS_PORT: String(processorOps),
    CATALOG_POLL_MS: '1000',
    WATERMARK_INTERVAL_MS: '1000',
  };
  const faked = {
    ...env,
    DATABASE_URL: proxyUrl,
    LD_PRELOAD: library,
    FAKETIME_TIMESTAMP_FILE: clockFile,
    FAKETIME_NO_CACHE: '1',
    // Its two names, by the version of libfaketime.
    DONT_FAKE_MONOTONIC: '1',
    FAKETIME_DONT_FAKE_MONOTONIC: '1',
    NO_FAKE_STAT: '1',
  };
  await tollway(env, 'advertiser', 'top-up', '1', '10000.00');
  const links = await tollway(env, 'link', '1', '--count', '10000');
  return {
    links: links.stdout.trim().split('\n'),
    step,
    adServer: { ...startPart('ad-server/main.ts', faked), opsUrl: `http://127.0.0.1:${adOps}` },
    processor: { ...startPart('processor/main.ts', faked), opsUrl: `http://127.0.0.1:${processorOps}` },
  };
}

const folder = makeFolder();
const dataDir = join(folder, 'data');
makeDataDir(dataDir);
// As root, the server runs as another user, who has to pass through here.
chmodSync(dataDir, 0o755);
const logger = pino({ level: 'silent' });
const server = await startEmbeddedPostgres(dataDir, logger);
const pool = createPool(server.url, 'attack', 2, () => {});
const children: ChildProcess[] = [];
try {
  await migrate(server.url, retentionOf(parseConfig({})), logger);
  await addSamples(pool);
  const proxy = await startTcpProxy(server.url);
  const setup = { pool, proxy, ...(await startParts(folder, server.url, proxy.url)) };
  const parts = [setup.adServer, setup.processor];
  children.push(...parts.map(({ child }) => child));
  const isReady = async () =>
    (await Promise.all(parts.map(({ opsUrl }) => readPage(opsUrl, 'readyz')))).every(
      ({ status }) => status === 200,
    );
  await until('both parts to be ready', isReady, 30_000).catch((error: unknown) => {
    throw new Error(parts.flatMap(({ lines }) => lines()).join('\n'), { cause: error });
  });
  for (const phase of PHASES) await run(phase, setup);
  const ended = children.filter(({ exitCode, signalCode }) => exitCode !== null || signalCode !== null);
  check('no process ended', ended.length === 0, `${ended.length} ended`);
  for (const { lines } of parts)
    process.stdout.write(
      `${lines()
        .map((line) => `     ${line}\n`)
        .join('')}`,
    );
  setup.step(0);
  for (const child of children) {
    const exited = once(child, 'exit');
    child.kill('SIGTERM');
    await exited;
  }
  await proxy.close();
} finally {
  for (const child of children) child.kill('SIGKILL');
  await pool.end();
  await server.stop();
  removeFolder(folder);
}
