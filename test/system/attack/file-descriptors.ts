/**
 * Attack: 20 200 idle connections from two addresses on the public port, and 2 000 on each operations port, while 200 clicks a second
 * are answered for 60 s; once for each limit of open files. Run it by hand:
 *
 *     npx -c 'node test/system/attack/file-descriptors.ts [--limits 20000,4096,1024,128] [--seconds 60]'
 *
 * Prints one line per check and exits 1 when one fails. `CONNECTIONS_PER_ADDRESS` is 0 unless it is set: the attackers may take all.
 */
import { type ChildProcess, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync } from 'node:fs';
import { get } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { pino } from 'pino';
import { addSamples } from '../../../cli/samples.ts';
import { makeDataDir, startEmbeddedPostgres } from '../../../cli/start/embedded-postgres.ts';
import { parseConfig } from '../../../common/config/config.ts';
import { createPool, type Pool } from '../../../common/postgres/postgres.ts';
import { sleep } from '../../../common/process.ts';
import { createSigner, evergreenLink } from '../../../contract/link-token.ts';
import { freePorts } from '../../../emulators/process/free-ports.ts';
import { retentionOf } from '../../../ledger/partitions.ts';
import { migrate } from '../../../migrations/migrate.ts';
import { makeFolder, removeFolder } from '../../support/temporary-folder.ts';
import { until } from '../../support/until.ts';

const ADDRESSES = ['127.0.0.1', '127.0.0.2'];
const IDLE_ON_PUBLIC = 20_200;
const IDLE_ON_OPERATIONS = 2_000;
const CLICKS_PER_SECOND = 200;
const P99_MS_MAX = 100;
const OPERATIONS_MS_MAX = 1_000;
/** Time until a connection that the server closed is opened again, in ms. */
const REOPEN_MS = 20_000;
const LINK_KEYS = 'k1:signs:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8';

let failures = 0;
function check(what: string, holds: boolean, found: unknown): void {
  if (!holds) failures += 1;
  process.stdout.write(`${holds ? 'ok  ' : 'FAIL'} ${what}: ${found}\n`);
}

/** The attacker, a process of its own: opens connections, sends one request on each, and keeps them. */
async function holdConnections(port: number, localAddress: string, count: number): Promise<void> {
  let open = 0;
  const openOne = () => {
    const socket = connect({ port, host: '127.0.0.1', localAddress });
    socket.once('connect', () => {
      open += 1;
      socket.write('GET /idle HTTP/1.1\r\nHost: attack\r\n\r\n');
      socket.once('close', () => {
        open -= 1;
      });
    });
    socket.resume().on('error', () => {});
    socket.once('close', () => setTimeout(openOne, REOPEN_MS));
  };
  process.on('message', () => process.send?.(open));
  process.once('disconnect', () => process.exit(0));
  for (let opened = 0; opened < count; opened += 1) {
    openOne();
    if (opened % 20 === 19) await sleep(20);
  }
  process.send?.('opened');
}

function attack(port: number, address: string, count: number): ChildProcess {
  return fork(import.meta.filename, ['hold', String(port), address, String(count)]);
}

/** Runs a part with a limit of open files, and collects what it prints. */
function startPart(script: string, openFiles: number, env: NodeJS.ProcessEnv) {
  const command = `ulimit -n ${openFiles} && exec "$0" "$1"`;
  const child = spawn('sh', ['-c', command, process.execPath, script], {
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let printed = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text) => {
      printed += text;
    });
  }
  return { child, printed: () => printed };
}

type Sample = { readonly ms: number; readonly status: number; readonly clickId: string };

/** One request on a connection of its own; status 0 when no answer came. */
function request(url: string, number: number): Promise<Sample> {
  const startedAt = performance.now();
  const userAgent = `Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/141.0.${number}.0 Safari/537.36`;
  return new Promise((resolve) => {
    const end = (status: number, clickId = 'none') =>
      resolve({ ms: performance.now() - startedAt, status, clickId });
    const sent = get(url, { agent: false, headers: { 'user-agent': userAgent }, timeout: 10_000 });
    sent.once('response', (response) => {
      response
        .resume()
        .once('end', () => end(response.statusCode ?? 0, String(response.headers['tollway-click'])));
    });
    sent.once('timeout', () => sent.destroy());
    sent.once('error', () => end(0));
  });
}

/** Sends requests at an even rate; resolves when all have ended. */
async function sendFor(seconds: number, perSecond: number, send: (number: number) => Promise<Sample>) {
  const startedAt = performance.now();
  const samples: Promise<Sample>[] = [];
  for (let number = 0; number < seconds * perSecond; number += 1) {
    const dueAt = startedAt + (number * 1_000) / perSecond;
    if (dueAt > performance.now()) await sleep(dueAt - performance.now());
    samples.push(send(number));
  }
  return Promise.all(samples);
}

/** The processes under attack and their ports. */
type Target = {
  readonly name: string;
  readonly publicPort: number;
  readonly opsPorts: readonly number[];
  readonly parts: readonly ReturnType<typeof startPart>[];
};

/** Runs the attack once with a limit of open files, and checks its results. */
async function runLimit(openFiles: number, seconds: number, pool: Pool, databaseUrl: string, folder: string) {
  const target = await startTarget(openFiles, databaseUrl, folder);
  const attackers = await startAttackers(target);
  const { clicks, watched } = await measure(target, seconds);
  await printHeld(target, attackers);
  const recorded = clicks.filter(({ status, clickId }) => status === 302 && clickId !== 'none');
  checkClicks(target, clicks, recorded);
  checkOperations(target, watched);
  checkParts(target);
  for (const attacker of attackers) attacker.disconnect();
  await checkLedger(
    target,
    pool,
    recorded.map(({ clickId }) => clickId),
  );
  await stopParts(target);
}

const operationsUrls = ({ opsPorts }: Target) => opsPorts.map((port) => `http://127.0.0.1:${port}`);

/** Starts the ad server and the processor, and waits until both are ready. */
async function startTarget(openFiles: number, databaseUrl: string, folder: string): Promise<Target> {
  const [publicPort = 0, adOps = 0, processorOps = 0] = await freePorts(3);
  const env = {
    ...process.env,
    CONNECTIONS_PER_ADDRESS: process.env.CONNECTIONS_PER_ADDRESS ?? '0',
    DATABASE_URL: databaseUrl,
    DATA_DIR: join(folder, `data-${openFiles}`),
    LINK_KEYS,
    AD_SERVER_PORT: String(publicPort),
    AD_SERVER_OPS_PORT: String(adOps),
    PROCESSOR_OPS_PORT: String(processorOps),
  };
  const scripts = ['ad-server/main.ts', 'processor/main.ts'];
  const parts = scripts.map((script) => startPart(script, openFiles, env));
  const target = { name: `ulimit -n ${openFiles}`, publicPort, opsPorts: [adOps, processorOps], parts };
  for (const url of operationsUrls(target))
    await until(`${url} to be ready`, async () => (await request(`${url}/readyz`, 0)).status === 200, 30_000);
  return target;
}

/** Starts the attackers and waits until each has opened its connections. */
async function startAttackers({ publicPort, opsPorts }: Target): Promise<readonly ChildProcess[]> {
  const attackers = [
    ...ADDRESSES.map((address) => attack(publicPort, address, IDLE_ON_PUBLIC / 2)),
    ...opsPorts.map((port) => attack(port, '127.0.0.1', IDLE_ON_OPERATIONS)),
  ];
  await Promise.all(attackers.map((attacker) => once(attacker, 'message')));
  return attackers;
}

/** Clicks at an even rate, and reads every page of the operations ports once a second meanwhile. */
async function measure(target: Target, seconds: number) {
  const config = parseConfig({ LINK_KEYS });
  const token = createSigner(config.LINK_KEYS ?? [])(evergreenLink(1));
  const clicking = sendFor(seconds, CLICKS_PER_SECOND, (number) =>
    request(`http://127.0.0.1:${target.publicPort}/c/${token}`, number),
  );
  const watching = operationsUrls(target).flatMap((url) =>
    ['/healthz', '/readyz', '/metrics'].map((path) => sendFor(seconds, 1, () => request(url + path, 0))),
  );
  return { clicks: await clicking, watched: (await Promise.all(watching)).flat() };
}

async function printHeld({ name }: Target, attackers: readonly ChildProcess[]): Promise<void> {
  const held = await Promise.all(
    attackers.map((attacker) => {
      attacker.send('count');
      return once(attacker, 'message').then(([open]) => Number(open));
    }),
  );
  process.stdout.write(`     ${name}: connections that the attackers hold: ${held.join(', ')}\n`);
}

function checkClicks({ name }: Target, clicks: readonly Sample[], recorded: readonly Sample[]): void {
  const times = clicks.map(({ ms }) => ms).sort((one, other) => one - other);
  const p99 = times[Math.floor(times.length * 0.99)] ?? 0;
  check(
    `${name}: clicks answered and recorded`,
    recorded.length === clicks.length,
    `${recorded.length} of ${clicks.length}`,
  );
  check(
    `${name}: p99 below ${P99_MS_MAX} ms`,
    p99 < P99_MS_MAX,
    `${p99.toFixed(1)} ms, longest ${times.at(-1)?.toFixed(1)}`,
  );
}

function checkOperations({ name }: Target, watched: readonly Sample[]): void {
  const late = watched.filter(({ status, ms }) => status !== 200 || ms > OPERATIONS_MS_MAX);
  check(
    `${name}: operations ports answer 200 within 1 s`,
    late.length === 0,
    `${watched.length - late.length} of ${watched.length}`,
  );
}

function checkParts({ name, parts }: Target): void {
  const ended = parts.filter(({ child }) => child.exitCode !== null || child.signalCode !== null);
  check(
    `${name}: no process ended`,
    ended.length === 0,
    ended.map(({ printed }) => printed()).join('\n') || 'none',
  );
}

/** Waits until the clicks are in the ledger, and checks that each is there once. */
async function checkLedger({ name }: Target, pool: Pool, ids: readonly string[]): Promise<void> {
  const settled = async () => {
    const { rows } = await pool.query<{ count: number }>(
      'select count(*)::integer as count from ledger where click_id = any($1::uuid[])',
      [ids],
    );
    return rows[0]?.count ?? 0;
  };
  await until('the clicks in the ledger', async () => (await settled()) >= ids.length, 30_000).catch(
    () => {},
  );
  const found = await settled();
  check(
    `${name}: every answered click is in the ledger once`,
    found === ids.length,
    `${found} of ${ids.length}`,
  );
}

async function stopParts({ parts }: Target): Promise<void> {
  for (const { child } of parts) {
    const exited = child.exitCode === null ? once(child, 'exit') : null;
    child.kill('SIGTERM');
    await exited;
  }
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      limits: { type: 'string', default: '20000,4096,1024,128' },
      seconds: { type: 'string', default: '60' },
    },
  });
  const folder = makeFolder();
  const dataDir = join(folder, 'data');
  makeDataDir(dataDir);
  // As root, the server runs as another user, who has to enter here.
  chmodSync(dataDir, 0o755);
  const logger = pino({ level: 'silent' });
  const server = await startEmbeddedPostgres(dataDir, logger);
  const pool = createPool(server.url, 'attack', 2, () => {});
  try {
    await migrate(server.url, retentionOf(parseConfig({})), logger);
    await addSamples(pool);
    for (const limit of values.limits.split(','))
      await runLimit(Number(limit), Number(values.seconds), pool, server.url, folder);
  } finally {
    await pool.end();
    await server.stop();
    removeFolder(folder);
  }
  process.exitCode = failures > 0 ? 1 : 0;
}

const [, , mode, port, address = '', count] = process.argv;
if (mode === 'hold') await holdConnections(Number(port), address, Number(count));
else await main();
