import { afterEach, describe, expect, it } from 'vitest';
import type { AdServerNumbers, ProcessorNumbers } from '../../../ledger/operations/part-numbers.ts';
import {
  deleteOldParts,
  type PartReport,
  readParts,
  removePart,
  reportPart,
} from '../../../ledger/operations/parts.ts';
import { testDatabase } from '../../support/database.ts';
import { adServerNumbers, processorNumbers } from '../../support/part-reports.ts';

const database = testDatabase();
afterEach(async () => {
  await database.pool.query('truncate part');
});

const startedAt = new Date('2026-01-31T12:00:00.123Z');

function report(changes: Partial<PartReport> = {}): PartReport {
  return {
    ...{ component: 'ad-server', instance: 'web-1:8081', startedAt, version: '0.1.0' },
    ...{ problems: [], warnings: [], numbers: adServerNumbers() },
    ...changes,
  };
}

/** Lets all parts have reported `interval` earlier. */
const pass = (interval: string) =>
  database.pool.query('update part set reported_at = reported_at - $1::interval', [interval]);

const readOne = async () => (await readParts(database.pool)).parts[0];
const instances = async () => (await readParts(database.pool)).parts.map(({ instance }) => instance);

describe('a part', () => {
  it('is read as it was reported, at the time of the database', async () => {
    const numbers: AdServerNumbers = adServerNumbers({ accepted: 7, redirectP99Seconds: 0.001 });
    await reportPart(database.pool, report({ numbers }));
    const { asOf, parts } = await readParts(database.pool);
    expect(parts).toEqual([{ ...report({ numbers }), state: 'ready', reportedAt: expect.any(Date) }]);
    expect(asOf.getTime() - (parts[0]?.reportedAt.getTime() ?? 0)).toBeLessThan(5_000);
  });

  it('replaces its report before', async () => {
    await reportPart(database.pool, report());
    await pass('1 minute');
    await reportPart(database.pool, report({ problems: ['spool: full'] }));
    expect((await readParts(database.pool)).parts).toMatchObject([
      { problems: ['spool: full'], state: 'not_ready' },
    ]);
  });

  it.each([
    ['ready', {}],
    ['warning', { warnings: ['postgres: away'] }],
    ['not_ready', { problems: ['ad catalog: not loaded yet'], warnings: ['postgres: away'] }],
  ])('is %s', async (state, changes) => {
    await reportPart(database.pool, report(changes));
    expect(await readOne()).toMatchObject({ state });
  });

  it('that has not reported for 10 s does not answer', async () => {
    await reportPart(database.pool, report());
    await pass('9 seconds');
    expect(await readOne()).toMatchObject({ state: 'ready' });
    await pass('1 second');
    expect(await readOne()).toMatchObject({ state: 'no_answer' });
  });

  it('that is stopped is removed, but not the process that replaced it', async () => {
    await reportPart(database.pool, report());
    await removePart(database.pool, report({ startedAt: new Date(0) }));
    expect(await readOne()).toBeDefined();
    await removePart(database.pool, report());
    expect(await readOne()).toBeUndefined();
  });

  it('of another version lacks numbers, and those that are not known here are left out', async () => {
    await reportPart(database.pool, report());
    await database.pool.query(
      `update part set numbers = '{"accepted": 7, "relayed": "x", "spoolBytes": -1, "new": 1}'`,
    );
    const unknown = Object.fromEntries(Object.keys(adServerNumbers()).map((name) => [name, null]));
    expect((await readOne())?.numbers).toEqual({ ...unknown, accepted: 7, spoolBytes: 0 });
  });

  it('that is a processor has its partitions', async () => {
    const partition = { broker: 'kafka', partition: '3', records: 5, oldestAgeSeconds: 1.5 };
    const numbers: ProcessorNumbers = processorNumbers({
      isBlocked: true,
      partitions: [{ ...partition, position: '17', isAssigned: true }],
    });
    await reportPart(database.pool, report({ component: 'processor', numbers }));
    expect((await readOne())?.numbers).toEqual(numbers);
  });
});

describe('old parts', () => {
  it('are deleted a day after their last report', async () => {
    await reportPart(database.pool, report({ instance: 'old:1' }));
    await pass('23 hours 59 minutes');
    await deleteOldParts(database.pool);
    expect(await instances()).toEqual(['old:1']);
    await pass('2 minutes');
    await reportPart(database.pool, report({ instance: 'new:1' }));
    await deleteOldParts(database.pool);
    expect(await instances()).toEqual(['new:1']);
  });

  it('are deleted before that if there are more than 200, the oldest first', async () => {
    for (let index = 0; index < 203; index += 1) {
      await reportPart(database.pool, report({ instance: `dead:${String(index).padStart(3, '0')}` }));
    }
    await pass('1 minute');
    await reportPart(database.pool, report({ instance: 'alive:1' }));
    await deleteOldParts(database.pool);
    const left = await instances();
    expect(left).toHaveLength(201);
    expect(left.slice(0, 2)).toEqual(['alive:1', 'dead:003']);
  });
});
