/**
 * Attack: exports back to back under load, each with `--since` at the last `until`, while other sessions hold the rows of advertisers for
 * seconds and transactions stay open after they have added their rows. Every accepted click, and every credit, must be in exactly one
 * window. Run it by hand:
 *
 *     npx -c 'node test/system/attack/contiguous-exports.ts [--seconds 60] [--rate 300]'
 *
 * Prints one line per check and exits 1 when one fails. Starts a stack of its own, as `npm start` does.
 */
import { parseArgs } from 'node:util';
import { Agent, request } from 'undici';
import { errorMessage } from '../../../common/errors.ts';
import { createPool, inTransaction, type Pool } from '../../../common/postgres/postgres.ts';
import { sleep } from '../../../common/process.ts';
import { creditClick } from '../../../ledger/accounts/budget-entries.ts';
import { exportLedger } from '../../../ledger/clicks/export.ts';
import { addAccount } from '../../support/database.ts';
import { stackEnv, startStack, type TestStack } from '../../support/stack.ts';
import { makeFolder, removeFolder } from '../../support/temporary-folder.ts';
import { until } from '../../support/until.ts';

const ADVERTISERS = 12;
/** Sessions that hold advertisers' rows, and for how long at most, in ms. */
const HOLDERS = 4;
const HOLD_MS_MAX = 4_000;
/** Time between two credits, in ms. */
const CREDIT_MS = 200;
/** Time between two reads of the reader that the exports are compared to, in ms. */
const NAIVE_MS = 100;
const SETTLE_MS_MAX = 120_000;

let failures = 0;
function check(what: string, holds: boolean, found: unknown): void {
  if (!holds) failures += 1;
  process.stdout.write(`${holds ? 'ok  ' : 'FAIL'} ${what}: ${found}\n`);
}

/** Most transactions that add clicks stay open for up to a second after it. */
async function holdTransactionsOpen(pool: Pool): Promise<void> {
  await pool.query(`create function hold_open() returns trigger language plpgsql as $$
    begin if random() < 0.8 then perform pg_sleep(random()); end if; return null; end $$`);
  await pool.query(
    'create trigger hold_open after insert on ledger for each statement execute function hold_open()',
  );
}

/** Holds the row of one advertiser after the other, in no order. */
async function holdRows(pool: Pool, ids: readonly number[], stop: AbortSignal): Promise<number> {
  let held = 0;
  for (; !stop.aborted; held += 1) {
    const id = ids[Math.floor(Math.random() * ids.length)];
    await inTransaction(pool, async (connection) => {
      await connection.query('select from advertiser where id = $1 for update', [id]);
      await sleep(Math.random() * HOLD_MS_MAX, stop);
    });
    await sleep(Math.random() * 1_000, stop);
  }
  return held;
}

/** Clicks links at an even rate. Answers the ids of the clicks that were recorded, and how many requests failed. */
async function sendClicks(links: readonly string[], seconds: number, perSecond: number, recorded: string[]) {
  const agent = new Agent({ connections: 100 });
  let failed = 0;
  const click = async (number: number) => {
    const browser = `Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/141.0.${number}.0 Safari/537.36`;
    const url = links[number % links.length] ?? '';
    try {
      const { body, headers } = await request(url, { dispatcher: agent, headers: { 'user-agent': browser } });
      await body.dump();
      const clickId = headers['tollway-click'];
      if (typeof clickId === 'string' && clickId !== 'none') recorded.push(clickId);
      else failed += 1;
    } catch {
      failed += 1;
    }
  };
  const beganAt = performance.now();
  const sent: Promise<void>[] = [];
  for (let number = 0; number < seconds * perSecond; number += 1) {
    const dueAt = beganAt + (number * 1_000) / perSecond;
    if (dueAt > performance.now()) await sleep(Math.max(0, dueAt - performance.now()));
    sent.push(click(number));
  }
  await Promise.all(sent);
  await agent.close();
  return failed;
}

/** Gives back the charge of a click now and then. Answers the ids of these clicks. */
async function creditSome(pool: Pool, recorded: readonly string[], stop: AbortSignal): Promise<string[]> {
  const credited: string[] = [];
  for (; !stop.aborted; await sleep(CREDIT_MS, stop)) {
    const clickId = recorded[Math.floor(recorded.length / 2)];
    if (clickId === undefined || credited.includes(clickId)) continue;
    // Not settled yet, or not charged: another one will be.
    const { entered } = await creditClick(pool, clickId).catch(() => ({ entered: false }));
    if (entered) credited.push(clickId);
  }
  return credited;
}

type Window = {
  readonly until: string;
  readonly rows: readonly { clickId: string | null; outcome: string }[];
};

/** One window by the command. */
async function exportByCommand(stack: TestStack, since: string | undefined): Promise<Window> {
  const { code, stdout, stderr } = await stack.tollway('export', ...(since ? ['--since', since] : []));
  const until = /^until: (\S+)$/.exec(stderr.trim().split('\n').at(-1) ?? '')?.[1];
  if (code !== 0 || until === undefined) throw new Error(`export ended with ${code}: ${stderr}`);
  const lines = stdout.split('\n').filter(Boolean);
  return { until, rows: lines.map((line) => JSON.parse(line) as Window['rows'][number]) };
}

/** One window by what the command calls, in this process: many more of them in the same time. */
async function exportHere(pool: Pool, since: string | undefined): Promise<Window> {
  const rows: Window['rows'][number][] = [];
  const until = await exportLedger(
    pool,
    { since: new Date(since ?? 0) },
    async (page) => void rows.push(...page),
  );
  return { until: until.toISOString(), rows };
}

/** Exports window after window until it is stopped; `exportOnce` exports one more. */
function exporter(read: (since: string | undefined) => Promise<Window>, stop: AbortSignal) {
  const seen = { clicks: new Map<string, number>(), credits: new Map<string, number>() };
  const counts = { windows: 0, busy: 0 };
  let last: string | undefined;
  const exportOnce = async () => {
    const { until, rows } = await read(last);
    for (const { clickId, outcome } of rows) {
      const times = outcome === 'credit' ? seen.credits : seen.clicks;
      times.set(clickId ?? 'no click id', (times.get(clickId ?? 'no click id') ?? 0) + 1);
    }
    counts.windows += 1;
    if (rows.length > 0) counts.busy += 1;
    last = until;
  };
  const run = async () => {
    while (!stop.aborted) await exportOnce();
  };
  const ended = run();
  // The caller awaits `ended` later; without this a rejection before that would end the process.
  ended.catch(() => undefined);
  return { seen, counts, exportOnce, ended };
}

/** What the exports are compared to: windows that end at the time of the database. Answers how many clicks they have. */
async function readNaively(pool: Pool, stop: AbortSignal): Promise<Set<string>> {
  const found = new Set<string>();
  let since = new Date(0);
  for (; !stop.aborted; await sleep(NAIVE_MS, stop)) {
    const { rows: clock } = await pool.query<{ now: Date }>(
      `select date_trunc('milliseconds', clock_timestamp()) as now`,
    );
    const until = clock[0]?.now ?? since;
    const { rows } = await pool.query<{ id: string }>(
      'select click_id as id from ledger where settled_at >= $1 and settled_at < $2',
      [since, until],
    );
    for (const { id } of rows) found.add(id);
    since = until;
  }
  return found;
}

/** Compares what the windows had with what there is. */
function checkOnce(what: string, all: readonly string[], seen: ReadonlyMap<string, number>): void {
  const lost = all.filter((id) => !seen.has(id)).length;
  const repeated = [...seen.values()].filter((times) => times > 1).length;
  const known = new Set(all);
  const foreign = [...seen.keys()].filter((id) => !known.has(id)).length;
  check(
    `${what} is in exactly one window`,
    lost === 0 && repeated === 0 && foreign === 0,
    `${all.length} in all, ${lost} in none, ${repeated} in several, ${foreign} unknown`,
  );
}

async function prepareLinks(stack: TestStack, pool: Pool) {
  const ids: number[] = [];
  const links: string[] = [];
  for (let count = 0; count < ADVERTISERS; count += 1) {
    const { advertiser, ad } = await addAccount(pool, { budget: '1000000.00' });
    ids.push(advertiser.id);
    links.push((await stack.tollway('link', String(ad.id), '--evergreen')).stdout.trim());
  }
  const last = links.at(-1) ?? '';
  const isKnown = async () => {
    const { statusCode, body } = await request(last, { method: 'HEAD' });
    await body.dump();
    return statusCode === 302;
  };
  await until('the ad server to know the new ads', isKnown);
  return { ids, links };
}

async function run(stack: TestStack, pool: Pool, seconds: number, perSecond: number): Promise<void> {
  const { ids, links } = await prepareLinks(stack, pool);
  await holdTransactionsOpen(pool);
  const stop = new AbortController();
  const over = new AbortController();
  const recorded: string[] = [];
  const held = Promise.all(Array.from({ length: HOLDERS }, () => holdRows(pool, ids, stop.signal)));
  const credits = creditSome(pool, recorded, over.signal);
  const naive = readNaively(pool, over.signal);
  const exporters = {
    'tollway export': exporter((since) => exportByCommand(stack, since), over.signal),
    exportLedger: exporter((since) => exportHere(pool, since), over.signal),
  };

  const failed = await sendClicks(links, seconds, perSecond, recorded);
  stop.abort();
  const holds = (await held).reduce((sum, count) => sum + count, 0);
  check(
    'every request is answered and recorded',
    failed === 0,
    `${recorded.length} clicks, ${failed} failed`,
  );
  const isSettled = async () => (await stack.tollway('reconcile', '--settled')).code === 0;
  await until('settled books', isSettled, SETTLE_MS_MAX);
  over.abort();
  const [credited, naively] = await Promise.all([credits, naive]);
  for (const { ended, exportOnce } of Object.values(exporters)) {
    await ended;
    // Up to now, all of it; nothing is being settled any more.
    await exportOnce();
  }

  const { rows } = await pool.query<{ id: string }>('select click_id as id from ledger');
  const all = rows.map(({ id }) => id);
  process.stdout.write(`     rows of advertisers were held ${holds} times\n`);
  const known = new Set(all);
  const unsettled = recorded.filter((id) => !known.has(id)).length;
  check('every recorded click is in the ledger', unsettled === 0, `${unsettled} are not`);
  for (const [name, { seen, counts }] of Object.entries(exporters)) {
    process.stdout.write(`     ${name}: ${counts.windows} windows, ${counts.busy} with clicks\n`);
    checkOnce(`${name}: every accepted click`, all, seen.clicks);
    checkOnce(`${name}: every credit`, credited, seen.credits);
  }
  const missed = all.filter((id) => !naively.has(id)).length;
  check('windows that end at the clock would have lost clicks', missed > 0, `${missed} of ${all.length}`);
  const { code, stdout } = await stack.tollway('reconcile', '--settled', '--deep');
  check('the books balance', code === 0, stdout.trim().split('\n').at(-1));
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { seconds: { type: 'string', default: '60' }, rate: { type: 'string', default: '300' } },
  });
  const folder = makeFolder();
  const stack = await startStack(await stackEnv(folder));
  const { databaseUrl } = JSON.parse((await stack.tollway('status', '--json')).stdout) as {
    databaseUrl: string;
  };
  const pool = createPool(databaseUrl, 'attack', 12, () => {});
  try {
    await run(stack, pool, Number(values.seconds), Number(values.rate));
  } catch (error) {
    check('the attack comes to its end', false, errorMessage(error));
  } finally {
    await pool.end();
    await stack.stop();
    removeFolder(folder);
  }
  process.exitCode = failures > 0 ? 1 : 0;
}

await main();
