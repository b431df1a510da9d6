import { pino } from 'pino';
import { describe, expect, it } from 'vitest';
import { CheckpointWriter } from '../../brokers/checkpoint-writer.ts';
import {
  beginCheckpoints,
  moveCheckpoints,
  readCheckpoints,
  resetCheckpoints,
} from '../../brokers/checkpoints.ts';
import { OffsetTracker } from '../../brokers/offset-tracker.ts';
import { createMetrics } from '../../common/telemetry/metrics.ts';
import { DAY_MS } from '../../common/unix-time.ts';
import { uuidV7 } from '../../common/uuid.ts';
import type { ReadClick } from '../../contract/click-event.ts';
import { chargeClicks } from '../../processor/charge/charge-clicks.ts';
import { addAccount, testDatabase } from '../support/database.ts';
import { TestSpool } from '../support/records.ts';

const database = testDatabase();
let count = 0;

/** Creates a source with checkpoints. */
async function sourceOf(positions: Record<string, string>): Promise<string> {
  count += 1;
  const source = `test ${count}`;
  await beginCheckpoints(database.pool, source, new Map(Object.entries(positions)));
  return source;
}

const read = async (source: string) => Object.fromEntries(await readCheckpoints(database.pool, source));

describe('the checkpoints of a source', () => {
  it('begin at the given positions, once', async () => {
    const source = await sourceOf({ a: '5', b: '7' });
    await beginCheckpoints(
      database.pool,
      source,
      new Map([
        ['a', '1'],
        ['c', '2'],
      ]),
    );
    expect(await read(source)).toEqual({ a: '5', b: '7', c: '2' });
  });

  it('move, and return their positions', async () => {
    const source = await sourceOf({ a: '5', b: '7' });
    const moves = [
      { partition: 'a', known: '5', next: '9' },
      { partition: 'b', known: '7', next: '7' },
    ];
    expect(await moveCheckpoints(database.pool, source, moves, [])).toEqual({
      hasLostCommits: false,
      positions: new Map([
        ['a', '9'],
        ['b', '7'],
      ]),
    });
    expect(await read(source)).toEqual({ a: '9', b: '7' });
  });

  it('do not move from another position than the known one, and return the current positions', async () => {
    const source = await sourceOf({ a: '5' });
    expect(await resetCheckpoints(database.pool, source, () => '2')).toEqual(new Map([['a', '5']]));
    const moves = [
      { partition: 'a', known: '5', next: '9' },
      { partition: 'gone', known: '1', next: '3' },
    ];
    expect(await moveCheckpoints(database.pool, source, moves, [])).toEqual({
      hasLostCommits: false,
      positions: new Map([['a', '2']]),
    });
    expect(await read(source)).toEqual({ a: '2' });
  });

  it('do not move when the database has lost a confirmed commit', async () => {
    const { ad } = await addAccount(database.pool);
    const spool = new TestSpool();
    const [charged, rejected, lost] = [
      spool.click({ ad }),
      spool.click({ ad: { ...ad, id: 999_999 } }),
      spool.click({ ad }),
    ];
    await chargeClicks(database.pool, [charged, rejected], { clickAgeMaxDays: 14 });
    const source = await sourceOf({ a: '5' });
    const move = (next: string, ...commitProbes: ReadClick[]) =>
      moveCheckpoints(
        database.pool,
        source,
        [{ partition: 'a', known: '5', next }],
        commitProbes.map(({ click }) => click.clickId),
      );
    const at5 = { hasLostCommits: true, positions: new Map([['a', '5']]) };
    expect(await move('9', charged, lost)).toEqual(at5);
    expect(await read(source)).toEqual({ a: '5' });
    expect(await moveCheckpoints(database.pool, source, [], [lost.click.clickId])).toMatchObject({
      hasLostCommits: true,
    });
    expect(await move('9', charged, rejected)).toEqual({
      hasLostCommits: false,
      positions: new Map([['a', '9']]),
    });
  });

  it('move past a commit of a day that the ledger has closed since', async () => {
    const source = await sourceOf({ a: '5' });
    const closed = uuidV7(Date.now() - 300 * DAY_MS);
    const moves = [{ partition: 'a', known: '5', next: '9' }];
    const at9 = { hasLostCommits: false, positions: new Map([['a', '9']]) };
    expect(await moveCheckpoints(database.pool, source, moves, [closed])).toEqual(at9);
    const ahead = uuidV7(Date.now() + 300 * DAY_MS);
    expect(await moveCheckpoints(database.pool, source, moves, [ahead])).toMatchObject({
      hasLostCommits: true,
    });
  });

  it('move for one of two sources that move them at the same time', async () => {
    const source = await sourceOf({ a: '0' });
    const movers = Array.from({ length: 10 }, (_, index) =>
      moveCheckpoints(database.pool, source, [{ partition: 'a', known: '0', next: String(index + 1) }], []),
    );
    const positions = (await Promise.all(movers)).map((answer) => answer.positions.get('a'));
    const { a } = await read(source);
    expect(positions.filter((position, index) => position === String(index + 1))).toEqual([a]);
  });
});

it('checkpoints that cannot be moved are logged at once, counted in a metric, and logged when they move again', async () => {
  const metrics = createMetrics();
  const lines: Record<string, unknown>[] = [];
  const logger = pino({ level: 'info' }, { write: (line) => lines.push(JSON.parse(line)) });
  const sink = { commitProbes: () => [], forget: () => {} };
  const writer = new CheckpointWriter(database.pool, sink, { metrics, logger, isSetBack: () => false });
  const failures = async () => (await metrics.checkpointFailures.get()).values[0]?.value;
  const move = () => writer.move('report', [], () => {});
  expect(await failures()).toBe(0);
  await move();
  await database.pool.query('alter table broker_checkpoint rename to broker_checkpoint_away');
  for (const _ of [1, 2, 3]) await move();
  expect(await failures()).toBe(3);
  await database.pool.query('alter table broker_checkpoint_away rename to broker_checkpoint');
  await move();
  await move();
  expect(lines).toEqual([
    expect.objectContaining({
      level: 40,
      problem: 'relation "broker_checkpoint" does not exist',
      failures: 1,
    }),
    expect.objectContaining({ level: 40, msg: 'Checkpoints are moved again', failedSeconds: 0 }),
  ]);
});

it.each([
  ['3', 'The checkpoint was set back (a rewind, or a restored database)'],
  ['9', 'another processor has moved the checkpoint'],
])(
  'that another session has moved from 5 to %s make the source read from there: %s',
  async (position, reason) => {
    const source = await sourceOf({ a: '5' });
    const sink = { commitProbes: () => [], forget: () => {} };
    const writer = new CheckpointWriter(database.pool, sink, {
      metrics: createMetrics(),
      logger: pino({ level: 'silent' }),
      isSetBack: (now, known) => now === undefined || Number(now) < Number(known),
    });
    const tracker = new OffsetTracker('5');
    await moveCheckpoints(database.pool, source, [{ partition: 'a', known: '5', next: position }], []);
    const restarts: unknown[] = [];
    await writer.move(source, [{ reader: 'reader', partition: 'a', tracker, next: '7' }], (...restart) =>
      restarts.push(restart),
    );
    expect(restarts).toEqual([['reader', position, reason]]);
    expect((await read(source)).a).toBe(position);
  },
);

describe('the offset tracker of a partition', () => {
  it('moves only up to the first unsettled batch: a fast batch does not move it past a slow one', () => {
    const tracker = new OffsetTracker('0');
    const slow = tracker.add('10', 1_000, 10);
    const fast = tracker.add('20', 2_000, 10);
    const last = tracker.add('30', 3_000, 10);
    fast();
    expect(tracker.settledTo).toBe('0');
    expect(tracker).toMatchObject({ isIdle: false, oldestAt: 1_000, records: 20 });
    slow();
    expect(tracker.settledTo).toBe('20');
    expect(tracker).toMatchObject({ oldestAt: 3_000, records: 10 });
    last();
    expect(tracker).toMatchObject({ settledTo: '30', isIdle: true, oldestAt: null, records: 0 });
  });
});
