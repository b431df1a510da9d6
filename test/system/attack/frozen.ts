/**
 * Attack: the database of `npm start` does not work while clicks come. First PostgreSQL is frozen by SIGSTOP, postmaster and backends;
 * then the ledger is locked; then the server, and then the database, is read-only. Run it by hand:
 *
 *     npx -c 'node test/system/attack/frozen.ts [--seconds 60] [--blocked-seconds 15]'
 *
 * Prints one line per check and exits 1 when one fails.
 */
import { parseArgs } from 'node:util';
import { createPool, type Pool } from '../../../common/postgres/postgres.ts';
import { sleep } from '../../../common/process.ts';
import { clickLink, makeLinks } from '../../support/clicks.ts';
import { BROWSER, descendants, stackEnv, startStack, type TestStack } from '../../support/stack.ts';
import { makeFolder, removeFolder } from '../../support/temporary-folder.ts';
import { until } from '../../support/until.ts';
import { check } from './report-check.ts';
import { metricIn, readPage, type Watch, watchSignals } from './watch-signals.ts';

const CLICKS_PER_SECOND = 20;
const ANSWER_MS_MAX = 1_000;
const NOTICED_MS_MAX = 10_000;
const PRICE_MICROS = 250_000;
/** Time after the attack until everything is settled and every part is ready, in ms. */
const RECOVERY_MS_MAX = 60_000;

/** What one attack does, what it needs to be undone, and what `/readyz` of the processor says meanwhile. */
type Attack = {
  readonly name: string;
  readonly seconds: number;
  readonly begin: () => Promise<void>;
  readonly end: () => Promise<void>;
  readonly reason: RegExp;
  readonly more: (watches: Watches) => void;
};
type Watches = { readonly adServer: Watch; readonly processor: Watch };

/** Every click that was answered, over all attacks. */
const clickIds: string[] = [];

/** Sends clicks at an even rate for a time; resolves to how many were answered and recorded. */
async function sendClicks(links: readonly string[], stopping: AbortSignal): Promise<number> {
  const startedAt = performance.now();
  const clicks: Promise<void>[] = [];
  for (const [number, link] of links.entries()) {
    const dueMs = startedAt + (number * 1_000) / CLICKS_PER_SECOND - performance.now();
    if (dueMs > 0) await sleep(dueMs, stopping);
    if (stopping.aborted) break;
    const agent = BROWSER.replace('Chrome/142.0', `Chrome/142.${clickIds.length + number}`);
    clicks.push(
      clickLink(link, { 'user-agent': agent }).then(
        ({ clickId }) => void (clickId !== null && clickIds.push(clickId)),
        () => undefined,
      ),
    );
  }
  await Promise.all(clicks);
  return clicks.length;
}

function grows(values: readonly number[]): boolean {
  return values.every((value, index) => value >= (values[index - 1] ?? 0));
}

async function run(stack: TestStack, pool: Pool, attack: Attack): Promise<void> {
  const { name, seconds } = attack;
  const links = await makeLinks(stack, 1, Math.ceil((seconds + 10) * CLICKS_PER_SECOND));
  const stopping = new AbortController();
  const answeredBefore = clickIds.length;
  const printedBefore = stack.printed().length;
  const sending = sendClicks(links, stopping.signal);
  await sleep(3_000);
  await attack.begin();
  const watches = {
    adServer: watchSignals(stack.adServerOpsUrl),
    processor: watchSignals(stack.processorOpsUrl),
  };
  await sleep(NOTICED_MS_MAX);
  const statusAt = performance.now();
  const status = await stack.tollway('status', '--json');
  const statusMs = performance.now() - statusAt;
  await sleep(seconds * 1_000 - NOTICED_MS_MAX - statusMs);
  await Promise.all([watches.adServer.stop(), watches.processor.stop()]);
  await attack.end();
  await sleep(2_000);
  stopping.abort();
  const sent = await sending;

  const answers = [...watches.adServer.answers(), ...watches.processor.answers()];
  const late = answers.filter(
    ({ path, status, ms }) => ms > ANSWER_MS_MAX || (path !== 'readyz' && status !== 200),
  );
  const longest = Math.max(...answers.map(({ ms }) => ms));
  check(
    `${name}: /healthz, /readyz and /metrics of both parts answer within 1 s`,
    late.length === 0,
    `${answers.length - late.length} of ${answers.length}, the longest in ${longest.toFixed(0)} ms`,
  );
  const notReadyMs = watches.processor.firstMs(
    'readyz',
    ({ status, text }) => status === 503 && attack.reason.test(text),
  );
  const said = watches.processor.answers().findLast(({ path }) => path === 'readyz')?.text ?? '';
  check(
    `${name}: /readyz of the processor says why within 10 s`,
    notReadyMs < NOTICED_MS_MAX,
    `after ${(notReadyMs / 1_000).toFixed(1)} s; at the end: ${said.trim().replaceAll('\n', ' ')}`,
  );
  check(
    `${name}: tollway status --json exits with 1`,
    status.code === 1,
    `${status.code} in ${statusMs.toFixed(0)} ms`,
  );
  attack.more(watches);
  const answered = clickIds.length - answeredBefore;
  check(`${name}: every click is answered and recorded`, answered === sent, `${answered} of ${sent}`);
  await recover(stack, pool, name);
  const lines = stack
    .printed()
    .slice(printedBefore)
    .split('\n')
    .filter((line) => line.trim() !== '');
  process.stdout.write(
    `     ${name}: ${lines.length} log lines\n${lines.map((line) => `       ${line}\n`).join('')}`,
  );
}

/** Waits until all is settled, and holds that every click was charged once. */
async function recover(stack: TestStack, pool: Pool, name: string): Promise<void> {
  const endedAt = performance.now();
  const settled = async () => {
    const { rows } = await pool.query<{ count: number; charged: number }>(
      `select count(*)::integer as count, coalesce(sum(charged_micros), 0)::float8 as charged from ledger
       where click_id = any($1::uuid[])`,
      [clickIds],
    );
    return rows[0] ?? { count: 0, charged: 0 };
  };
  const isRecovered = async () => {
    const pages = [stack.adServerOpsUrl, stack.processorOpsUrl].map((url) => readPage(url, 'readyz'));
    const isReady = (await Promise.all(pages)).every(
      ({ status, text }) => status === 200 && text === 'ready\n',
    );
    return isReady && (await settled()).count >= clickIds.length;
  };
  await until('the recovery', isRecovered, RECOVERY_MS_MAX).catch(() => undefined);
  const seconds = ((performance.now() - endedAt) / 1_000).toFixed(1);
  const { count, charged } = await settled();
  check(
    `${name}: afterwards every click is in the ledger`,
    count === clickIds.length,
    `${count} of ${clickIds.length} after ${seconds} s`,
  );
  const { rows } = await pool.query<{ spent: number }>(
    'select spent_micros::float8 as spent from advertiser where id = 1',
  );
  const owed = clickIds.length * PRICE_MICROS;
  check(
    `${name}: every click is charged once`,
    charged === owed && rows[0]?.spent === owed,
    `spent ${rows[0]?.spent}, owed ${owed}`,
  );
  const { code, stdout } = await stack.tollway('reconcile', '--settled', '--deep');
  check(`${name}: reconcile --settled --deep is balanced`, code === 0, code === 0 ? 'yes' : stdout);
  const [ad, processor] = await Promise.all(
    [stack.adServerOpsUrl, stack.processorOpsUrl].map((url) => readPage(url, 'readyz')),
  );
  check(
    `${name}: both parts are ready again`,
    ad?.text === 'ready\n' && processor?.text === 'ready\n',
    `${ad?.text.trim()}, ${processor?.text.trim()}`,
  );
  const blocked = metricIn(
    (await readPage(stack.processorOpsUrl, 'metrics')).text,
    'tollway_settlement_blocked',
  );
  check(`${name}: tollway_settlement_blocked is 0 again`, blocked === 0, blocked);
}

/** Freezes PostgreSQL: the postmaster first, so that it starts no backend meanwhile. */
function freezePostgres(stack: TestStack, seconds: number): Attack {
  let stopped: number[] = [];
  return {
    name: 'PostgreSQL frozen',
    seconds,
    begin: async () => {
      const postmaster = stack.postmasterPid();
      process.kill(postmaster, 'SIGSTOP');
      stopped = descendants(postmaster);
      for (const pid of stopped) process.kill(pid, 'SIGSTOP');
    },
    end: async () => {
      for (const pid of stopped) process.kill(pid, 'SIGCONT');
    },
    reason: /^- database: it does not answer/m,
    more: ({ adServer, processor }) => {
      const up = processor.values('tollway_database_up').at(-1);
      check('PostgreSQL frozen: tollway_database_up is 0', up === 0, up);
      const blocked = processor.values('tollway_settlement_blocked').at(-1);
      check('PostgreSQL frozen: tollway_settlement_blocked is 1', blocked === 1, blocked);
      const namedMs = adServer.firstMs('readyz', ({ text }) => text.includes('- '));
      check(
        'PostgreSQL frozen: /readyz of the ad server warns within 10 s',
        namedMs < NOTICED_MS_MAX,
        `after ${(namedMs / 1_000).toFixed(1)} s: ${adServer
          .answers()
          .findLast(({ path }) => path === 'readyz')
          ?.text.trim()
          .replaceAll('\n', ' ')}`,
      );
      const least = seconds - NOTICED_MS_MAX / 1_000;
      for (const metric of ['tollway_spool_oldest_click_age_seconds', 'tollway_catalog_age_seconds']) {
        const values = adServer.values(metric);
        const last = values.at(-1) ?? 0;
        check(
          `PostgreSQL frozen: ${metric} grows`,
          grows(values.slice(4)) && last > least,
          `to ${last.toFixed(1)} s`,
        );
      }
      const lag = processor.values('tollway_broker_oldest_click_age_seconds');
      const atFirst =
        lag.length === 0
          ? 'absent'
          : `from ${lag[0]?.toFixed(1)} to ${lag.at(-1)?.toFixed(1)} in ${lag.length} scrapes`;
      check(
        'PostgreSQL frozen: tollway_broker_oldest_click_age_seconds grows or is absent',
        grows(lag),
        atFirst,
      );
    },
  };
}

/** What is the same for attacks that leave a database that answers and does not charge. */
function checkBlocked(name: string): Attack['more'] {
  return ({ processor }) => {
    const blocked = processor.values('tollway_settlement_blocked');
    const first = blocked.indexOf(1);
    check(
      `${name}: tollway_settlement_blocked becomes 1 and stays 1`,
      first >= 0 && blocked.slice(first).every((value) => value === 1),
      blocked.join(' '),
    );
    const up = processor.values('tollway_database_up').at(-1);
    check(`${name}: tollway_database_up is 1`, up === 1, up);
  };
}

function lockLedger(pool: Pool, seconds: number): Attack {
  const locking = pool.connect();
  return {
    name: 'ledger locked',
    seconds,
    begin: async () => void (await (await locking).query('begin; lock table ledger')),
    end: async () => {
      await (await locking).query('rollback');
      (await locking).release();
    },
    reason: /settlement in lane .* the database has not answered/,
    more: checkBlocked('ledger locked'),
  };
}

/** With `alter system`, sessions that exist become read-only at once; with `alter database`, those that come. */
function makeReadOnly(pool: Pool, how: 'system' | 'database', seconds: number): Attack {
  const name = `read-only by alter ${how}`;
  const alter = how === 'system' ? 'alter system' : 'alter database tollway';
  const others = "datname = 'tollway' and pid <> pg_backend_pid() and application_name <> 'tollway attack'";
  const take =
    how === 'system'
      ? 'select pg_reload_conf()'
      : `select pg_terminate_backend(pid) from pg_stat_activity where ${others}`;
  const change = async (value: string) => {
    await pool.query(`${alter} ${value}`);
    await pool.query(take);
  };
  return {
    name,
    seconds,
    begin: () => change('set default_transaction_read_only = on'),
    end: () => change('reset default_transaction_read_only'),
    reason: /database: it is read-only/,
    more: checkBlocked(name),
  };
}

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '60' },
    'blocked-seconds': { type: 'string', default: '15' },
  },
});
const folder = makeFolder();
const stack = await startStack(await stackEnv(folder));
const { databaseUrl } = JSON.parse((await stack.tollway('status', '--json')).stdout) as {
  databaseUrl: string;
};
// What undoes a read-only server may write.
const url = new URL(databaseUrl);
url.searchParams.set('options', '-c default_transaction_read_only=off');
const pool = createPool(url.href, 'attack', 4, () => {});
try {
  await stack.tollway('advertiser', 'top-up', '1', '10000.00');
  const blockedSeconds = Number(values['blocked-seconds']);
  await run(stack, pool, freezePostgres(stack, Number(values.seconds)));
  await run(stack, pool, lockLedger(pool, blockedSeconds));
  await run(stack, pool, makeReadOnly(pool, 'system', blockedSeconds));
  await run(stack, pool, makeReadOnly(pool, 'database', blockedSeconds));
  const { exitCode } = stack.process;
  check('npm start runs through it all', exitCode === null, exitCode === null ? 'yes' : exitCode);
} finally {
  await pool.end();
  await stack.stop();
  removeFolder(folder);
}
