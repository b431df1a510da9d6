/**
 * Attack: a ledger of 4 000 days under PostgreSQL's default of `max_locks_per_transaction`, with clicks in 50 of the days. Every command and
 * every transaction that reads or closes days must succeed, one after the other and all at once. Run it by hand:
 *
 *     npx -c 'node test/system/attack/long-retention.ts [--days 4000]'
 *
 * Prints one line per check with its duration, and exits 1 when one fails. Starts an embedded PostgreSQL of its own.
 */
import { execFile } from 'node:child_process';
import { chmodSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs, promisify } from 'node:util';
import { pino } from 'pino';
import { beginCheckpoints, moveCheckpoints } from '../../../brokers/checkpoints.ts';
import { makeDataDir, startEmbeddedPostgres } from '../../../cli/start/embedded-postgres.ts';
import { parseConfig } from '../../../common/config/config.ts';
import { errorMessage } from '../../../common/errors.ts';
import { createPool, inTransaction, type Pool } from '../../../common/postgres/postgres.ts';
import { DAY_MS } from '../../../common/unix-time.ts';
import { uuidV7 } from '../../../common/uuid.ts';
import type { ReadClick } from '../../../contract/click-event.ts';
import { creditClick } from '../../../ledger/accounts/budget-entries.ts';
import { createDayPartitions, dropClosedDays, maintain } from '../../../ledger/maintenance.ts';
import { dayStart, listPartitionDays, retentionOf } from '../../../ledger/partitions.ts';
import { migrate } from '../../../migrations/migrate.ts';
import { chargeClicks } from '../../../processor/charge/charge-clicks.ts';
import { addAccount } from '../../support/database.ts';
import { clickRecord, type NamedAd, TestSpool } from '../../support/records.ts';
import { makeFolder, removeFolder } from '../../support/temporary-folder.ts';

const ROOT = join(import.meta.dirname, '..', '..', '..');
/** Days of the ledger that have clicks, and clicks in each. */
const BUSY_DAYS = 50;
const CLICKS_PER_DAY = 20;
/** Days that one step of the made-up past adds: below the most that the project's own function accepts. */
const STEP_DAYS = 90;
/** Transactions that each lock all days. */
const QUERIES_OF_ALL = 6;
/** Rounds of everything at once. */
const ROUNDS = 3;

let failures = 0;
async function check(what: string, act: () => Promise<string>): Promise<void> {
  const startedAt = performance.now();
  const [holds, found] = await act().then(
    (said) => [true, said] as const,
    (error: unknown) => [false, errorMessage(error)] as const,
  );
  if (!holds) failures += 1;
  const ms = Math.round(performance.now() - startedAt);
  process.stdout.write(`${holds ? 'ok  ' : 'FAIL'} ${what}: ${found} (${ms} ms)\n`);
}

function expectThat(holds: boolean, found: string): string {
  if (!holds) throw new Error(`got ${found}`);
  return found;
}

/** Makes the days of a ledger that has been kept for so long, as the maintenance of every day would have made them. */
async function makePast(pool: Pool, days: number): Promise<string> {
  const firstDay = dayStart(Date.now()) - days * DAY_MS;
  await pool.query('update ledger_window set click_floor = $1, click_ahead = $1', [new Date(firstDay)]);
  for (let now = firstDay; now < Date.now(); now += STEP_DAYS * DAY_MS)
    await createDayPartitions(pool, RETENTION, now);
  await createDayPartitions(pool, RETENTION);
  const made = await inTransaction(pool, (connection) => listPartitionDays(connection, 'ledger'));
  return expectThat(made.length >= days, `${made.length} days`);
}

const RETENTION = retentionOf(parseConfig({}));

type Attack = {
  readonly pool: Pool;
  readonly env: NodeJS.ProcessEnv;
  readonly days: number;
  readonly ad: NamedAd;
  readonly clicks: readonly ReadClick[];
};

async function tollway({ env }: Attack, ...args: string[]): Promise<string> {
  const command = [join(ROOT, 'cli', 'main.js'), ...args];
  const { stdout } = await promisify(execFile)(process.execPath, command, { env, cwd: ROOT });
  return stdout;
}

type Action = readonly [what: string, act: (round: number) => Promise<string>];

/** What must succeed, whatever the ledger keeps. `round` tells the rounds apart. */
function actions(attack: Attack): readonly Action[] {
  return [
    ['export', () => exportAll(attack)],
    ['reconcile --deep', async () => lastLine(await tollway(attack, 'reconcile', '--deep'))],
    ['maintain', async () => (await tollway(attack, 'maintain')).trim()],
    [
      'a checkpoint moves, with commit probes of every busy day',
      (round) => moveCheckpoint(attack, `attack ${round}`),
    ],
    ['copies of every busy day are found', () => chargeCopies(attack)],
    ['new clicks of today are charged', () => chargeNewClicks(attack)],
    ['clicks of every busy day get the keys that come late', () => chargeLateKeys(attack)],
    ['the charge of an old click is given back', (round) => creditOldClick(attack, round)],
    ['maintenance closes no day that is kept', () => maintainAll(attack)],
  ];
}

const lastLine = (text: string) => text.trim().split('\n').at(-1) ?? '';

async function exportAll(attack: Attack): Promise<string> {
  const lines = (await tollway(attack, 'export')).trim().split('\n');
  return expectThat(lines.length >= attack.clicks.length, `${lines.length} lines`);
}

async function moveCheckpoint({ pool, clicks }: Attack, source: string): Promise<string> {
  await beginCheckpoints(pool, source, new Map([['a', '1']]));
  const commitProbes = firstOfEachDay(clicks).map(({ click }) => click.clickId);
  const moves = [{ partition: 'a', known: '1', next: '2' }];
  const { hasLostCommits, positions } = await inTransaction(pool, (connection) =>
    moveCheckpoints(connection, source, moves, commitProbes),
  );
  return expectThat(
    !hasLostCommits && positions.get('a') === '2',
    `${commitProbes.length} commit probes found`,
  );
}

function firstOfEachDay(clicks: readonly ReadClick[]): ReadClick[] {
  return clicks.filter((_, index) => index % CLICKS_PER_DAY === 0);
}

/** Charges a batch. Resolves to the number of clicks with each outcome. */
async function charge({ pool, days }: Attack, batch: readonly ReadClick[]): Promise<string> {
  const { outcomes } = await chargeClicks(pool, batch, { clickAgeMaxDays: days });
  const counts = Map.groupBy(outcomes, ({ outcome }) => outcome);
  return [...counts].map(([outcome, those]) => `${those.length} ${outcome}`).join(', ');
}

async function chargeCopies(attack: Attack): Promise<string> {
  const found = await charge(attack, attack.clicks);
  return expectThat(found === `${attack.clicks.length} duplicate`, found);
}

async function chargeNewClicks(attack: Attack): Promise<string> {
  const { ad } = attack;
  const found = await charge(
    attack,
    Array.from({ length: 200 }, () => clickRecord({ ad })),
  );
  return expectThat(found === '200 charged', found);
}

/** Charges clicks without a key, then the same clicks with the key of a spool, whose counters must be written. */
async function chargeLateKeys(attack: Attack): Promise<string> {
  const { pool, ad } = attack;
  const late = firstOfEachDay(attack.clicks).map(({ click: { clickedAt } }) => ({
    ad,
    clickId: uuidV7(clickedAt),
    clickedAt,
  }));
  await charge(
    attack,
    late.map((click) => clickRecord({ ...click, from: null })),
  );
  const spool = new TestSpool();
  const found = await charge(
    attack,
    late.map((click) => clickRecord({ ...click, from: spool.next() })),
  );
  const { rowCount } = await pool.query(
    'select from spool_counter where spool_id = $1 union all select from spool_total where spool_id = $1',
    [spool.id],
  );
  return expectThat(found === `${late.length} duplicate` && (rowCount ?? 0) > 0, found);
}

async function creditOldClick({ pool, clicks }: Attack, index: number): Promise<string> {
  const { entered } = await creditClick(pool, clicks[index]?.click.clickId ?? '');
  return expectThat(entered, 'entered');
}

async function maintainAll({ pool, days }: Attack): Promise<string> {
  const options = { ...RETENTION, ledgerRetentionDays: days, brokerRetentionDays: 7 };
  await maintain(pool, options, pino({ level: 'silent' }));
  return 'done';
}

/**
 * What the product must not do fails here: otherwise the scenario would prove nothing. Alone, a query of the whole ledger just fits into the
 * locks of the embedded server, or just does not; several at once never fit.
 */
async function runOutOfLocks(pool: Pool): Promise<string> {
  const countAll = (others: number): Promise<string> =>
    inTransaction(pool, async (connection) => {
      await connection.query('select count(*) from ledger');
      return others === 0 ? 'no error' : countAll(others - 1);
    });
  const code = await countAll(QUERIES_OF_ALL - 1).catch(
    (error: { code?: string }) => error.code ?? 'no code',
  );
  // SQLSTATE 53200, out_of_memory: "You might need to increase max_locks_per_transaction".
  return expectThat(code === '53200', `SQLSTATE ${code}`);
}

async function closeOldestDay({ pool, days }: Attack): Promise<string> {
  const logger = pino({ level: 'silent' });
  const options = { ...RETENTION, ledgerRetentionDays: days - 1, brokerRetentionDays: 7 };
  const count = async () =>
    (await inTransaction(pool, (connection) => listPartitionDays(connection, 'ledger'))).length;
  const before = await count();
  await maintain(pool, options, logger);
  await dropClosedDays(pool, logger, 0);
  const closed = before - (await count());
  return expectThat(closed === 1, `${closed} day closed`);
}

async function run(pool: Pool, url: string, dataDir: string, days: number): Promise<void> {
  const logger = pino({ level: 'silent' });
  await check('migrate', async () => migrate(url, RETENTION, logger).then(() => 'done'));
  await check(`partitions of ${days} days are made`, () => makePast(pool, days));
  const { ad } = await addAccount(pool, { budget: '1000000.00' });
  const spool = new TestSpool();
  const stepMs = Math.floor((days - 2) / BUSY_DAYS) * DAY_MS;
  const clicks = Array.from({ length: BUSY_DAYS * CLICKS_PER_DAY }, (_, index) =>
    spool.click({ ad, clickedAt: Date.now() - Math.floor(index / CLICKS_PER_DAY) * stepMs }),
  );
  const { LINK_KEYS: _, ...inherited } = process.env;
  const env = {
    ...inherited,
    DATABASE_URL: url,
    DATA_DIR: dataDir,
    BROKER: 'postgres',
    LEDGER_RETENTION_DAYS: String(days),
  };
  const attack: Attack = { pool, env, days, ad, clicks };
  await check(`clicks of ${BUSY_DAYS} days are charged in one batch`, async () => {
    const { outcomes } = await chargeClicks(pool, [...clicks, spool.watermark()], { clickAgeMaxDays: days });
    const charged = outcomes.filter(({ outcome }) => outcome === 'charged').length;
    return expectThat(charged === clicks.length, `${charged} charged`);
  });
  await check('queries of the whole ledger run out of locks', () => runOutOfLocks(pool));
  for (const [what, act] of actions(attack)) await check(what, () => act(0));
  for (let round = 1; round <= ROUNDS; round += 1)
    await Promise.all(
      actions(attack).map(([what, act]) => check(`all at once, round ${round}: ${what}`, () => act(round))),
    );
  await check('the oldest day is closed and dropped', () => closeOldestDay(attack));
  await check('migrate again', async () => migrate(url, RETENTION, logger).then(() => 'done'));
  await check('reconcile --deep at the end', async () => {
    const said = lastLine(await tollway(attack, 'reconcile', '--deep'));
    return expectThat(said === 'The books balance.', said);
  });
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { days: { type: 'string', default: '4000' } } });
  const folder = makeFolder();
  const dataDir = join(folder, 'data');
  makeDataDir(dataDir);
  // As root, the server runs as another user, who has to enter here.
  chmodSync(dataDir, 0o755);
  const server = await startEmbeddedPostgres(dataDir, pino({ level: 'silent' }));
  const pool = createPool(server.url, 'attack', 10, () => {});
  try {
    const { rows } = await pool.query<{ locks: string }>(
      `select current_setting('max_locks_per_transaction') as locks`,
    );
    process.stdout.write(`     max_locks_per_transaction: ${rows[0]?.locks}\n`);
    await run(pool, server.url, join(folder, 'none'), Number(values.days));
  } finally {
    await pool.end();
    await server.stop();
    removeFolder(folder);
  }
  process.exitCode = failures > 0 ? 1 : 0;
}

await main();
