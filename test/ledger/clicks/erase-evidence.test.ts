import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { inTransaction } from '../../../common/postgres/postgres.ts';
import { DAY_MS } from '../../../common/unix-time.ts';
import { uuidFloor } from '../../../common/uuid.ts';
import { listAudit } from '../../../ledger/access/audit-log.ts';
import {
  eraseEvidenceOfClick,
  eraseEvidenceOfDay,
  eraseEvidenceOfNetwork,
} from '../../../ledger/clicks/erase-evidence.ts';
import { dayStart } from '../../../ledger/partitions.ts';
import {
  chargeBatch,
  chargeBatchTwice,
  expectBalanced,
  untilWaitingForLock,
} from '../../support/charge-batch.ts';
import { addAccount, createTestDatabase, type TestDatabase } from '../../support/database.ts';
import { clickRecord, type NamedAd } from '../../support/records.ts';

const ACTOR = { type: 'cli', user: 'alice' } as const;

let database: TestDatabase & { drop: () => Promise<void> };
let ad: NamedAd;
beforeEach(async () => {
  database = await createTestDatabase();
  ({ ad } = await addAccount(database.pool, { budget: '1000.00', price: '0.01' }));
});
afterEach(() => database.drop());

async function networks(): Promise<(string | null)[]> {
  const { rows } = await database.pool.query<{ network: string | null }>(
    'select network from click_evidence order by click_id',
  );
  return rows.map(({ network }) => network);
}

describe('erasing the evidence of a network', () => {
  it('erases it on all days, with the networks in it, and no other', async () => {
    const kept = [null, '203.0.114.0/24', '2001:db8:8::/48', '', '999.0.113.0/24', 'an address', '0:1'];
    const given = ['203.0.113.0/24', '203.0.113.0/24', '203.0.113.7', '2001:db8:7::/48', ...kept];
    const records = given.map((visitorNetwork, index) =>
      clickRecord({ ad, visitorNetwork, clickedAt: Date.now() - (index % 3) * DAY_MS }),
    );
    expect(new Set(await chargeBatchTwice(database.pool, records))).toEqual(new Set(['charged']));
    expect(await eraseEvidenceOfNetwork(database.pool, ACTOR, '203.0.113.0/24')).toBe(3);
    expect(await eraseEvidenceOfNetwork(database.pool, ACTOR, '203.0.113.0/24')).toBe(0);
    expect(await eraseEvidenceOfNetwork(database.pool, ACTOR, '2001:db8:6::/47')).toBe(1);
    expect((await networks()).toSorted()).toEqual(kept.toSorted());
    expect(await eraseEvidenceOfNetwork(database.pool, ACTOR, '203.0.0.0/16')).toBe(1);
    expect(await networks()).toHaveLength(kept.length - 1);
    await expectBalanced(database.pool);
  });

  it('is in the audit log before anything is erased, in case the process dies', async () => {
    await chargeBatch(database.pool, [clickRecord({ ad, visitorNetwork: '203.0.113.0/24' })]);
    let erased: Promise<number> | undefined;
    await inTransaction(database.pool, async (backup) => {
      await backup.query('lock table click_evidence in share mode');
      erased = eraseEvidenceOfNetwork(database.pool, ACTOR, '203.0.113.0/24');
      await untilWaitingForLock(database.pool);
      const entries = await listAudit(database.pool, { action: 'evidence.erase', limit: 10 });
      expect(entries).toMatchObject([{ actor: 'alice', subject: '203.0.113.0/24' }]);
    });
    expect(await erased).toBe(1);
  });

  it('searches all pieces of a large day, and scans no other day', async () => {
    const today = dayStart(Date.now());
    await database.pool.query(
      `insert into click_evidence (click_id, network, referrer_host)
       select ($1 || lpad(to_hex(n), 12, '0'))::uuid, case when n % 1000 = 7 then '198.51.100.0/24' else '192.0.2.0/24' end, repeat('x', 200)
       from generate_series(1, 100000) n`,
      [uuidFloor(today).slice(0, 24)],
    );
    expect(await eraseEvidenceOfNetwork(database.pool, ACTOR, '198.51.100.0/24')).toBe(100);
    expect(new Set(await networks())).toEqual(new Set(['192.0.2.0/24']));
    const { rows } = await database.pool.query<{ 'QUERY PLAN': string }>(
      `explain delete from click_evidence where click_id >= '${uuidFloor(today)}' and click_id < '${uuidFloor(today + DAY_MS)}'
         and ctid >= '(0,0)' and ctid < '(1000,0)' and network = ''`,
    );
    const plan = rows.map((row) => row['QUERY PLAN']).join('\n');
    expect(plan).toContain('Tid Range Scan');
    expect(plan.match(/Scan on/g)).toHaveLength(1);
  });
});

describe('erasing the evidence of a day', () => {
  it('erases all of that UTC day, and no other', async () => {
    const today = dayStart(Date.now());
    const times = [today - DAY_MS - 1, today - DAY_MS, today - 1, today];
    await chargeBatchTwice(
      database.pool,
      times.map((clickedAt, index) => clickRecord({ ad, clickedAt, visitorNetwork: `${index}` })),
    );
    expect(await eraseEvidenceOfDay(database.pool, ACTOR, today - DAY_MS)).toBe(2);
    expect(await networks()).toEqual(['0', '3']);
    expect(await eraseEvidenceOfDay(database.pool, ACTOR, today - DAY_MS)).toBe(0);
    expect(await eraseEvidenceOfDay(database.pool, ACTOR, today - 1_000 * DAY_MS)).toBe(0);
    await expectBalanced(database.pool);
  });

  it('waits for a reader, and charges do not wait for it', async () => {
    const today = dayStart(Date.now());
    await chargeBatchTwice(database.pool, [clickRecord({ ad })]);
    let erased: Promise<number> | undefined;
    await inTransaction(database.pool, async (reader) => {
      await reader.query('select from click_evidence');
      erased = eraseEvidenceOfDay(database.pool, ACTOR, today);
      const startedAt = performance.now();
      for (let charge = 0; charge < 4; charge += 1) {
        expect(await chargeBatch(database.pool, [clickRecord({ ad })])).toEqual(['charged']);
        await new Promise((resolve) => setTimeout(resolve, 300));
      }
      expect(performance.now() - startedAt).toBeLessThan(4_000);
    });
    expect(await erased).toBe(5);
    expect(await networks()).toEqual([]);
  });
});

it('Erasing the evidence of a click leaves that of others', async () => {
  const [first, second] = [
    clickRecord({ ad, visitorNetwork: '1' }),
    clickRecord({ ad, visitorNetwork: '2' }),
  ];
  await chargeBatchTwice(database.pool, [first, second]);
  expect(await eraseEvidenceOfClick(database.pool, ACTOR, first.click.clickId)).toBe(1);
  expect(await eraseEvidenceOfClick(database.pool, ACTOR, first.click.clickId)).toBe(0);
  expect(await networks()).toEqual(['2']);
});
