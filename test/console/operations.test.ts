import { afterEach, describe, expect, it } from 'vitest';
import { maintain } from '../../ledger/maintenance.ts';
import { reportPart } from '../../ledger/operations/parts.ts';
import { AHEAD_DAYS } from '../../ledger/partitions.ts';
import { chargeBatch } from '../support/charge-batch.ts';
import { addAccount, testDatabase } from '../support/database.ts';
import { silent } from '../support/loggers.ts';
import { adServerPart, consolePart, processorPart } from '../support/part-reports.ts';
import { clickRecord } from '../support/records.ts';
import { RETENTION } from '../support/retention.ts';
import { testApi } from './api-client.ts';

const SECRET = Buffer.alloc(32, 7).toString('base64url');
const database = testDatabase();
const api = testApi(database, { BATCH_SIZE: '100', LINK_KEYS: `k1:signs:${SECRET}` });
afterEach(async () => {
  await database.pool.query('truncate part');
});

const getOperations = async () => {
  const { status, body } = await api.send('GET', '/v1/operations');
  expect(status, JSON.stringify(body)).toBe(200);
  return body;
};
const codes = ({ problems }: { problems: { code: string }[] }) => problems.map(({ code }) => code);

describe('GET /v1/operations', () => {
  it('has the parts with their numbers, the backlog and the spools', async () => {
    const partition = { broker: 'postgres', partition: 'broker_chunk', records: 4, oldestAgeSeconds: 1.5 };
    await reportPart(database.pool, adServerPart({ numbers: { accepted: 9, spoolBytes: 100 } }));
    await reportPart(
      database.pool,
      processorPart({
        numbers: {
          ...{ charged: 5, lagRecords: 4, lagOldestSeconds: 1.5 },
          partitions: [{ ...partition, position: null, isAssigned: true }],
        },
      }),
    );
    await reportPart(database.pool, consolePart({ warnings: ['database: slow'] }));
    const operations = await getOperations();
    expect(operations.parts).toMatchObject([
      { component: 'ad-server', instance: 'web-1:8081', state: 'ready', numbers: { accepted: 9 } },
      { component: 'console', state: 'warning', warnings: ['database: slow'] },
      { component: 'processor', state: 'ready', numbers: { charged: 5, isBlocked: false } },
    ]);
    expect(operations.backlog).toEqual({
      ...{ records: 4, oldestAgeSeconds: 1.5 },
      partitions: [
        {
          ...{ broker: 'postgres', name: 'broker_chunk', records: 4, oldestAgeSeconds: 1.5, position: null },
          readers: ['worker-1:8082'],
        },
      ],
    });
    expect(operations.spools).toMatchObject([
      { instance: 'web-1:8081', bytes: 100, bytesMax: 1_073_741_824, accepted: 9, isAnswering: true },
    ]);
    expect(codes(operations)).toEqual([]);
  });

  it('says what is wrong: no part runs, or one was killed', async () => {
    const absent = await getOperations();
    expect(codes(absent)).toEqual(['TollwayPartAbsent', 'TollwayPartAbsent']);
    expect(absent.backlog).toEqual({ records: null, oldestAgeSeconds: null, partitions: [] });
    for (const part of [adServerPart(), processorPart()]) await reportPart(database.pool, part);
    await database.pool.query(
      "update part set reported_at = now() - interval '1 minute' where component = 'processor'",
    );
    const { parts, problems } = await getOperations();
    expect(parts[1]).toMatchObject({ component: 'processor', state: 'no_answer' });
    expect(problems).toEqual([
      {
        ...{ code: 'TollwayPartDown', severity: 'page', runbook: '#tollwaypartdown' },
        summary:
          'The processor at worker-1:8082 does not answer; clicks wait and are charged later, none is lost',
        since: parts[1].reportedAt,
      },
    ]);
  });

  it('has maintenance, reports, webhooks and dead letters', async () => {
    expect((await getOperations()).maintenance.lastAt).toBe(null);
    const options = { ...RETENTION, ledgerRetentionDays: 400, brokerRetentionDays: 7 };
    await maintain(database.pool, options, silent);
    const { ad } = await addAccount(database.pool);
    await chargeBatch(database.pool, [clickRecord({ ad: { ...ad, id: 1_001 } })]);
    const { maintenance, reports, webhooks, deadLetters } = await getOperations();
    expect(Date.now() - Date.parse(maintenance.lastAt)).toBeLessThan(60_000);
    expect(Date.now() - Date.parse(reports.asOf)).toBeLessThan(60_000);
    expect(maintenance.partitionsAheadDays).toBe(AHEAD_DAYS);
    const oldest = Date.now() - RETENTION.clickAgeDays * 86_400_000;
    expect(maintenance.oldestDay).toBe(new Date(oldest).toISOString().slice(0, 10));
    expect(webhooks).toEqual({ waiting: 0, oldestAgeSeconds: 0, failing: 0 });
    expect(deadLetters).toBe(1);
  });

  it('names a budget that is nearly gone, once it was charged within a day', async () => {
    const { advertiser, ad } = await addAccount(database.pool, { budget: '1.00', price: '0.96' });
    const isNamed = async () => codes(await getOperations()).includes('TollwayBudgetNearlyGone');
    expect(await isNamed()).toBe(false);
    await chargeBatch(database.pool, [clickRecord({ ad })]);
    await maintain(database.pool, { ...RETENTION, ledgerRetentionDays: 400, brokerRetentionDays: 7 }, silent);
    expect(await isNamed()).toBe(true);
    await database.pool.query("update advertiser set status = 'paused' where id = $1", [advertiser.id]);
    expect(await isNamed()).toBe(false);
  });

  it('shows the settings without secrets', async () => {
    const { settings } = await getOperations();
    expect(settings).toContainEqual({ name: 'BATCH_SIZE', value: '100', isDefault: false });
    expect(settings).toContainEqual({ name: 'LINK_KEYS', value: 'k1 signs', isDefault: false });
    expect(JSON.stringify(settings)).not.toContain(SECRET);
  });
});
