import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createPool, inTransaction, type Pool, RolledBack } from '../../../common/postgres/postgres.ts';
import { DAY_MS } from '../../../common/unix-time.ts';
import { uuidV7 } from '../../../common/uuid.ts';
import type { ReadClick } from '../../../contract/click-event.ts';
import { addAd } from '../../../ledger/accounts/ads.ts';
import { listDeadLetterIds } from '../../../ledger/charge/dead-letters.ts';
import { readEvidence, type StoredEvidence } from '../../../ledger/clicks/evidence.ts';
import { dayStart } from '../../../ledger/partitions.ts';
import { chargeClicks, settle } from '../../../processor/charge/charge-clicks.ts';
import { dryRunCharge } from '../../../processor/charge/dry-run.ts';
import { redrive } from '../../../processor/charge/redrive.ts';
import { chargeBatch, chargeBatchTwice, shuffle } from '../../support/charge-batch.ts';
import { addAccount, createTestDatabase, testDatabase } from '../../support/database.ts';
import { examples } from '../../support/examples.ts';
import { type ClickOverrides, clickRecord, TestSpool } from '../../support/records.ts';

const database = testDatabase();
const OPTIONS = { clickAgeMaxDays: 10_000 };
/** Days of evidence in the template database. */
const KEPT_DAYS = 14;

/** What the database must have for a click; `null` for a click without evidence. */
function expectedOf({ click }: ReadClick): StoredEvidence | null {
  const { visitorNetwork: network, userAgent, referrerHost, subIds = null } = click;
  if (network === null && userAgent === null && referrerHost === null && subIds === null) return null;
  return { network, userAgent, referrerHost, subIds, publishedAt: null };
}

async function readAll(pool: Pool): Promise<Map<string, StoredEvidence>> {
  const { rows } = await pool.query<StoredEvidence & { id: string }>(
    `select click_id::text as id, network, text as "userAgent", referrer_host as "referrerHost", sub_ids as "subIds", published_at as "publishedAt"
     from click_evidence left join user_agent on user_agent.id = user_agent_id`,
  );
  const evidence = new Map(rows.map(({ id, ...rest }) => [id, rest]));
  expect(evidence.size).toBe(rows.length);
  return evidence;
}

const countOf = async (pool: Pool, table: 'click_evidence' | 'user_agent') =>
  (await pool.query(`select from ${table}`)).rowCount;

describe('the evidence of a click', () => {
  it('is kept for each outcome with a row in the ledger, and found by the click id', async () => {
    const { ad } = await addAccount(database.pool, { budget: '0.25', price: '0.25' });
    const batch = [
      clickRecord({ ad }),
      clickRecord({ ad, visitorNetwork: '2001:db8:7::/48', userAgent: null }),
      clickRecord({ ad, invalid: 'bot', userAgent: 'curl/8.5.0', referrerHost: null }),
      clickRecord({ ad, visitorNetwork: null, userAgent: null, referrerHost: null }),
      clickRecord({ ad, subIds: { sub1: 'a "b" ü😀', sub5: '5' } }),
      clickRecord({ ad, visitorNetwork: null, userAgent: null, referrerHost: null, subIds: { sub2: 'x' } }),
    ];
    const rejected = clickRecord({ ad: { ...ad, id: 2_000_000_000 } });
    expect((await chargeBatchTwice(database.pool, [...batch, rejected])).toSorted()).toEqual([
      'charged',
      'invalid: bot',
      'over_budget: budget',
      'over_budget: budget',
      'over_budget: budget',
      'over_budget: budget',
      'rejected: unknown_ad',
    ]);
    for (const record of batch)
      expect(await readEvidence(database.pool, record.click.clickId)).toEqual(expectedOf(record));
    expect(await readEvidence(database.pool, rejected.click.clickId)).toBeNull();
    expect(await readEvidence(database.pool, uuidV7())).toBeNull();
    // An id of a day without a partition.
    expect(await readEvidence(database.pool, uuidV7(0))).toBeNull();
  });

  it('has texts that PostgreSQL can store, whatever another producer sends', async () => {
    const { ad } = await addAccount(database.pool);
    const of = async (overrides: ClickOverrides) => {
      const record = clickRecord({ ad, ...overrides });
      expect(await chargeBatchTwice(database.pool, [record])).toEqual(['charged']);
      return readEvidence(database.pool, record.click.clickId);
    };
    const odd = 'a\0b\ud83d';
    expect(await of({ visitorNetwork: odd, userAgent: odd, referrerHost: odd })).toMatchObject({
      network: 'a\ufffdb\ufffd',
      userAgent: 'a\ufffdb\ufffd',
      referrerHost: 'a\ufffdb\ufffd',
      subIds: null,
    });
    const long = 'ü😀'.repeat(300);
    const cut = await of({ visitorNetwork: long, userAgent: long, referrerHost: long });
    expect(cut?.network).toBe(`${'ü😀'.repeat(21)}ü`);
    expect(cut?.userAgent).toBe(`${'ü😀'.repeat(170)}ü\ufffd`);
    expect(cut?.referrerHost).toHaveLength(253);
    expect(await of({ subIds: { sub1: 'a\ud83d' } })).toMatchObject({ subIds: { sub1: 'a\ufffd' } });
    expect(await of({ visitorNetwork: '', userAgent: '', referrerHost: '' })).toMatchObject({
      network: '',
      userAgent: '',
      referrerHost: '',
      subIds: null,
    });
  });

  it('is not kept below the floor, although the click is charged', async () => {
    const own = await createTestDatabase();
    try {
      const { ad } = await addAccount(own.pool);
      const today = dayStart(Date.now());
      const [below, at] = [today - 3 * DAY_MS - 1, today - 3 * DAY_MS].map((clickedAt) =>
        clickRecord({ ad, clickedAt }),
      ) as [ReadClick, ReadClick];
      await own.pool.query('update ledger_window set evidence_floor = $1', [new Date(today - 3 * DAY_MS)]);
      expect(await chargeBatchTwice(own.pool, [below, at])).toEqual(['charged', 'charged']);
      expect([...(await readAll(own.pool)).keys()]).toEqual([at.click.clickId]);
    } finally {
      await own.drop();
    }
  });

  it('is not part of a dry run', async () => {
    const { ad } = await addAccount(database.pool);
    const before = [
      await countOf(database.pool, 'click_evidence'),
      await countOf(database.pool, 'user_agent'),
    ];
    expect(await dryRunCharge(database.pool, clickRecord({ ad }), OPTIONS)).toBe(true);
    expect([
      await countOf(database.pool, 'click_evidence'),
      await countOf(database.pool, 'user_agent'),
    ]).toEqual(before);
  });
});

describe('a processor that runs while EVIDENCE_RETENTION_DAYS is changed', () => {
  it('follows without a restart', async () => {
    const own = await createTestDatabase();
    try {
      const { ad } = await addAccount(own.pool);
      const charge = async () => {
        const record = clickRecord({ ad, userAgent: uuidV7() });
        expect(await chargeBatchTwice(own.pool, [record])).toEqual(['charged']);
        return record;
      };
      const first = await charge();
      await own.pool.query('update ledger_window set evidence_floor = null');
      await charge();
      await charge();
      expect(await readAll(own.pool)).toEqual(new Map([[first.click.clickId, expectedOf(first)]]));
      await own.pool.query('update ledger_window set evidence_floor = $1', [
        new Date(dayStart(Date.now()) - KEPT_DAYS * DAY_MS),
      ]);
      const last = await charge();
      expect(await readEvidence(own.pool, last.click.clickId)).toEqual(expectedOf(last));
    } finally {
      await own.drop();
    }
  });
});

describe('user agents', () => {
  it('are stored once each, by any number of handlers at once', async () => {
    const { ad } = await addAccount(database.pool, { budget: '1000.00', price: '0.01' });
    const texts = Array.from({ length: 50 }, () => `agent ${uuidV7()}`);
    const pools = Array.from({ length: 6 }, () => createPool(database.url, 'test', 2, () => {}));
    try {
      const batches = pools.map((pool) => {
        const batch = shuffle(texts).map((userAgent) => clickRecord({ ad, userAgent }));
        return chargeBatch(pool, batch);
      });
      const outcomes = (await Promise.all(batches)).flat();
      expect(new Set(outcomes)).toEqual(new Set(['charged']));
    } finally {
      await Promise.all(pools.map((pool) => pool.end()));
    }
    const { rows } = await database.pool.query('select text from user_agent where text = any($1)', [texts]);
    expect(rows.map(({ text }) => text).toSorted()).toEqual(texts.toSorted());
  });

  it('are stored again after a transaction that had inserted them was rolled back', async () => {
    const { ad } = await addAccount(database.pool);
    const record = clickRecord({ ad, userAgent: `agent ${uuidV7()}` });
    await inTransaction(database.pool, async (connection) => {
      await settle(connection, [record], OPTIONS);
      return new RolledBack(null);
    });
    expect(await chargeBatchTwice(database.pool, [record])).toEqual(['charged']);
    expect(await readEvidence(database.pool, record.click.clickId)).toEqual(expectedOf(record));
  });

  it('are confirmed once a day', async () => {
    const { ad } = await addAccount(database.pool);
    const userAgent = `agent ${uuidV7()}`;
    const pool = createPool(database.url, 'test', 2, () => {});
    const lastDay = async () => {
      const { rows } = await database.pool.query<{ age: number }>(
        `select (now() at time zone 'UTC')::date - last_day as age from user_agent where text = $1`,
        [userAgent],
      );
      return rows[0]?.age;
    };
    try {
      await chargeBatchTwice(database.pool, [clickRecord({ ad, userAgent })]);
      await database.pool.query('update user_agent set last_day = last_day - 5 where text = $1', [userAgent]);
      expect(await lastDay()).toBe(5);
      // A process that has just started.
      await chargeBatch(pool, [clickRecord({ ad, userAgent })]);
      expect(await lastDay()).toBe(0);
    } finally {
      await pool.end();
    }
  });

  it('of more clicks than the cache holds are stored too', { timeout: 60_000 }, async () => {
    const { ad } = await addAccount(database.pool, { budget: '1000.00', price: '0.01' });
    const before = (await countOf(database.pool, 'user_agent')) ?? 0;
    const batch = Array.from({ length: 10_000 }, () => clickRecord({ ad, userAgent: uuidV7() }));
    await chargeClicks(database.pool, batch, OPTIONS);
    expect(await countOf(database.pool, 'user_agent')).toBe(before + batch.length);
    const last = batch.at(-1);
    expect(await readEvidence(database.pool, last?.click.clickId ?? '')).toMatchObject({
      userAgent: last?.click.userAgent,
    });
  });
});

/** A click of the property: of a known or of an unknown ad, some days ago, with some evidence. */
const someClick = fc.record({
  isKnown: fc.boolean(),
  daysAgo: fc.integer({ min: 0, max: KEPT_DAYS - 1 }),
  invalid: fc.constantFrom(null, 'bot' as const),
  visitorNetwork: fc.constantFrom(null, '192.0.2.0/24', '2001:db8:7::/48'),
  userAgent: fc.constantFrom(null, 'first agent', 'second agent', 'third agent'),
  referrerHost: fc.constantFrom(null, 'publisher.example'),
  subIds: fc.constantFrom(null, { sub1: 'first' }, { sub1: 'first', sub3: 'third' }),
});
const someStep = fc.oneof(
  fc.record({
    is: fc.constant('deliver' as const),
    first: fc.nat(40),
    count: fc.integer({ min: 1, max: 20 }),
  }),
  fc.record({ is: fc.constant('kill' as const), first: fc.nat(40), count: fc.integer({ min: 1, max: 20 }) }),
  fc.record({ is: fc.constant('redrive' as const) }),
);

describe.each([
  ['kept', false],
  ['not kept', true],
] as const)('evidence that is %s, after any sequence of deliveries, kills and redrives', (_, isOff) => {
  it(isOff ? 'is there for no click' : 'is there for exactly the settled clicks', {
    timeout: 120_000,
  }, async () => {
    const own = await createTestDatabase();
    if (isOff) await own.pool.query('update ledger_window set evidence_floor = null');
    try {
      const clicks = fc.array(someClick, { minLength: 5, maxLength: 40 });
      const steps = fc.array(someStep, { minLength: 1, maxLength: 12 });
      await fc.assert(
        fc.asyncProperty(clicks, steps, async (given, order) => {
          const account = await addAccount(own.pool, { budget: '2.00', price: '0.25' });
          const spool = new TestSpool();
          const unknown = { ...account.ad, id: account.ad.id + 1 };
          const records = given.map(({ isKnown, daysAgo, ...click }) =>
            spool.click({
              ...click,
              ad: isKnown ? account.ad : unknown,
              clickedAt: Date.now() - daysAgo * DAY_MS,
            }),
          );
          for (const step of order) await run(own, step, records);
          // The ads of the unknown clicks are created now.
          const ad = await addAd(own.pool, account.campaign.id, 250_000n, 'https://example.com/');
          expect(ad.id).toBe(unknown.id);
          await run(own, { is: 'redrive' }, records);
          await chargeBatchTwice(own.pool, records);
          const found = await readAll(own.pool);
          const { rows } = await own.pool.query<{ id: string }>(
            'select click_id::text as id from ledger where advertiser_id = $1',
            [account.advertiser.id],
          );
          expect(rows.map(({ id }) => id).toSorted()).toEqual(
            records.map(({ click }) => click.clickId).toSorted(),
          );
          for (const record of records)
            expect(found.get(record.click.clickId) ?? null).toEqual(isOff ? null : expectedOf(record));
          const { rows: orphans } = await own.pool.query(
            'select from click_evidence e where not exists (select from ledger where ledger.click_id = e.click_id)',
          );
          expect(orphans).toEqual([]);
          if (isOff) expect(await countOf(own.pool, 'user_agent')).toBe(0);
        }),
        { numRuns: examples(12) },
      );
    } finally {
      await own.drop();
    }
  });
});

type Step = { is: 'deliver' | 'kill'; first: number; count: number } | { is: 'redrive' };

async function run(
  own: { url: string; pool: Pool },
  step: Step,
  records: readonly ReadClick[],
): Promise<void> {
  if (step.is === 'redrive') {
    for (const id of await listDeadLetterIds(own.pool, 0n, 1_000)) await redrive(own.pool, id);
    return;
  }
  const batch = records.slice(step.first, step.first + step.count);
  if (step.is === 'deliver') await chargeBatchTwice(own.pool, [...batch, ...batch.slice(0, 3)]);
  else await chargeKilled(own, batch);
}

/** Delivers a batch on connections that are ended somewhere in between. */
async function chargeKilled(own: { url: string; pool: Pool }, batch: readonly ReadClick[]): Promise<void> {
  const victim = createPool(own.url, 'victim', 2, () => {});
  const charged = chargeClicks(victim, batch, OPTIONS).catch(() => {});
  await new Promise((resolve) => setTimeout(resolve, Math.random() * 25));
  await own.pool.query(
    `select pg_terminate_backend(pid, 5000) from pg_stat_activity
     where datname = current_database() and application_name = 'tollway victim'`,
  );
  await charged;
  await victim.end();
}
