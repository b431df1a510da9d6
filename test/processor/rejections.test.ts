import { afterEach, describe, expect, it } from 'vitest';
import { DAY_MS } from '../../common/unix-time.ts';
import { uuidV7 } from '../../common/uuid.ts';
import { CLICK_BYTES_MAX, encodeClick } from '../../contract/click-event.ts';
import { chargeBatchTwice, expectBalanced } from '../support/charge-batch.ts';
import { addAccount, testDatabase } from '../support/database.ts';
import { clickEvent, clickRecord, type NamedAd, TestSpool, unreadableRecord } from '../support/records.ts';

const database = testDatabase();
const NO_AD = 2_000_000_000;

afterEach(async () => {
  await expectBalanced(database.pool);
});

async function lettersOf(spoolId: string) {
  const { rows } = await database.pool.query(
    'select sequence, reason, raw, click_id from dead_letter where spool_id = $1 order by sequence',
    [spoolId],
  );
  return rows;
}

const withVersion = (ad: NamedAd, version: number) =>
  Buffer.from(encodeClick(clickEvent({ ad })).replace('{"v":1,', `{"v":${version},`));

describe('malformed bytes', () => {
  it('are rejected, each settling its own sequence, while the clicks beside them are charged', async () => {
    const { ad } = await addAccount(database.pool);
    const spool = new TestSpool();
    const garbage = Buffer.from([0xff, 0x00, 0xfe, 0x7b]);
    const long = Buffer.alloc(CLICK_BYTES_MAX + 1, 0x20);
    const batch = [
      spool.click({ ad }),
      unreadableRecord(garbage, spool.next()),
      unreadableRecord(null, spool.next()),
      unreadableRecord(withVersion(ad, 2), spool.next()),
      unreadableRecord(Buffer.alloc(0), spool.next()),
      unreadableRecord(long, spool.next()),
      spool.click({ ad }),
      spool.watermark(),
    ];
    expect(await chargeBatchTwice(database.pool, batch)).toEqual([
      'charged',
      'rejected: malformed',
      'rejected: malformed',
      'rejected: unknown_version',
      'rejected: malformed',
      'rejected: malformed',
      'charged',
      'watermark',
    ]);
    expect(await lettersOf(spool.id)).toEqual([
      { sequence: 2n, reason: 'malformed', raw: garbage, click_id: null },
      { sequence: 3n, reason: 'malformed', raw: null, click_id: null },
      { sequence: 4n, reason: 'unknown_version', raw: withVersionOf(batch[3]), click_id: null },
      { sequence: 5n, reason: 'malformed', raw: Buffer.alloc(0), click_id: null },
      { sequence: 6n, reason: 'malformed', raw: long, click_id: null },
    ]);
    const reconciliation = await expectBalanced(database.pool);
    expect(reconciliation.spools.find((found) => found.spoolId === spool.id)).toMatchObject({
      accepted: 7,
      charged: 2,
      rejected: 5,
      missing: 0,
    });
  });

  it('are stored once and are not counted as rejected if they have no key of Tollway', async () => {
    const { ad } = await addAccount(database.pool);
    const before = await expectBalanced(database.pool);
    const foreign = unreadableRecord(Buffer.from('not ours'), null);
    const oddlyKeyed = { ...unreadableRecord(Buffer.from('{}'), null), key: 'user\0 42' };
    const batch = [foreign, oddlyKeyed, clickRecord({ ad })];
    expect(await chargeBatchTwice(database.pool, batch)).toEqual([
      'rejected: malformed',
      'rejected: malformed',
      'charged',
    ]);
    const after = await expectBalanced(database.pool);
    expect(after).toMatchObject({
      accepted: before.accepted + 1,
      rejected: before.rejected,
      unattributed: before.unattributed,
    });
    const { rows } = await database.pool.query(
      'select record_key, raw from dead_letter where identity like any ($1)',
      [[`%${foreign.position} %`, `%${oddlyKeyed.position} %`]],
    );
    expect(rows).toHaveLength(2);
  });

  it('are no copy of other bytes at the same position of an earlier topic', async () => {
    const position = `topic ${uuidV7()}/0@0`;
    const before = { ...unreadableRecord(Buffer.from('before'), null), position };
    const after = { ...unreadableRecord(Buffer.from('after'), null), position };
    const tombstone = { ...unreadableRecord(Buffer.from(''), null), position, value: null };
    for (const record of [before, after, tombstone])
      expect(await chargeBatchTwice(database.pool, [record])).toEqual(['rejected: malformed']);
    expect(await chargeBatchTwice(database.pool, [before, after, tombstone])).toEqual(
      Array(3).fill('duplicate'),
    );
  });
});

function withVersionOf(record: { value: Buffer | null } | undefined): Buffer | null | undefined {
  return record?.value;
}

describe('a click of an unknown ad, advertiser or campaign', () => {
  it('is rejected while the clicks beside it are charged', async () => {
    const { ad } = await addAccount(database.pool);
    const { ad: foreign } = await addAccount(database.pool);
    const spool = new TestSpool();
    const batch = [
      spool.click({ ad: { ...ad, id: NO_AD } }),
      spool.click({ ad: { ...ad, id: NO_AD, advertiserId: NO_AD } }),
      spool.click({ ad: { ...foreign, advertiserId: ad.advertiserId } }),
      spool.click({ ad: { ...ad, campaignId: foreign.campaignId } }),
      spool.click({ ad: { ...ad, advertiserId: NO_AD } }),
      spool.click({ ad }),
      spool.watermark(),
    ];
    expect(await chargeBatchTwice(database.pool, batch)).toEqual([
      'rejected: unknown_ad',
      'rejected: unknown_ad',
      'rejected: wrong_advertiser',
      'rejected: wrong_advertiser',
      'rejected: wrong_advertiser',
      'charged',
      'watermark',
    ]);
    const letters = await lettersOf(spool.id);
    expect(letters.map((letter) => [letter.sequence, letter.click_id, letter.raw])).toEqual(
      batch.slice(0, 5).map((record, index) => [BigInt(index + 1), clickIdOf(record), record.value]),
    );
  });

  it('spends no nonce', async () => {
    const { ad } = await addAccount(database.pool);
    const nonce = uuidV7();
    const lost = clickRecord({ ad: { ...ad, id: NO_AD }, nonce });
    expect(await chargeBatchTwice(database.pool, [lost])).toEqual(['rejected: unknown_ad']);
    expect(await chargeBatchTwice(database.pool, [clickRecord({ ad, nonce })])).toEqual(['charged']);
  });

  it('stays rejected when the ad appears later, until an operator redrives it', async () => {
    const { advertiser, campaign, ad } = await addAccount(database.pool);
    const { rows } = await database.pool.query<{ next: number }>('select max(id) + 1000 as next from ad');
    const next = rows[0]?.next ?? 0;
    const early = clickRecord({ ad: { ...ad, id: next } });
    expect(await chargeBatchTwice(database.pool, [early])).toEqual(['rejected: unknown_ad']);
    await database.pool.query(
      `insert into ad (id, campaign_id, advertiser_id, price_micros, url_template) overriding system value
       values ($1, $2, $3, 1, 'https://example.com/')`,
      [next, campaign.id, advertiser.id],
    );
    expect(await chargeBatchTwice(database.pool, [early])).toEqual(['duplicate']);
    const later = clickRecord({ ad: { ...ad, id: next } });
    expect(await chargeBatchTwice(database.pool, [later])).toEqual(['charged']);
  });
});

function clickIdOf(record: { is: string; click?: { clickId: string } }): string | undefined {
  return record.click?.clickId;
}

describe('a click of an unusual time', () => {
  it('is rejected as too old only if the handler has a maximum age', async () => {
    const { ad } = await addAccount(database.pool);
    const clickedAt = Date.now() - 3.5 * DAY_MS;
    const old = clickRecord({ ad, clickedAt });
    expect(await chargeBatchTwice(database.pool, [old], { clickAgeMaxDays: 2 })).toEqual([
      'rejected: too_old',
    ]);
    const sameAge = () => clickRecord({ ad, clickedAt });
    expect(await chargeBatchTwice(database.pool, [sameAge()], { clickAgeMaxDays: 4 })).toEqual(['charged']);
    expect(await chargeBatchTwice(database.pool, [sameAge()], { clickAgeMaxDays: 10_000 })).toEqual([
      'charged',
    ]);
  });

  it('is a duplicate at any age if it was charged before, with a spool id or without', async () => {
    const { ad } = await addAccount(database.pool);
    const clickedAt = Date.now() - 3.5 * DAY_MS;
    const batch = [clickRecord({ ad, clickedAt, from: null }), new TestSpool().click({ ad, clickedAt })];
    expect(await chargeBatchTwice(database.pool, batch)).toEqual(['charged', 'charged']);
    expect(await chargeBatchTwice(database.pool, batch, { clickAgeMaxDays: 2 })).toEqual([
      'duplicate',
      'duplicate',
    ]);
  });

  it.each([
    ['the first millisecond of Unix time', () => 0],
    ['before the floor', () => Date.now() - 40 * DAY_MS],
    ['of a clock that is ahead', () => Date.now() + 20 * DAY_MS],
    ['the last millisecond of a UUIDv7', () => 0xffffffffffff],
  ])('is rejected while the clicks beside it are charged: %s', async (_, time) => {
    const { ad } = await addAccount(database.pool);
    const batch = [clickRecord({ ad, clickedAt: time() }), clickRecord({ ad })];
    expect(await chargeBatchTwice(database.pool, batch)).toEqual(['rejected: id_out_of_range', 'charged']);
  });

  it('is invalid and not rejected if its link expired so long ago that the ledger has dropped the nonces of that time', async () => {
    const { ad } = await addAccount(database.pool);
    const nonce = uuidV7(Date.now() - 200 * DAY_MS);
    const batch = [
      clickRecord({ ad, nonce, invalid: 'expired' }),
      clickRecord({ ad, nonce, invalid: 'bot' }),
    ];
    expect(await chargeBatchTwice(database.pool, batch)).toEqual(['invalid: expired', 'invalid: bot']);
  });

  it.each([
    ['long ago', () => Date.now() - 200 * DAY_MS],
    ['ahead of time', () => Date.now() + 20 * DAY_MS],
  ])('is rejected when its link was made %s', async (_, mintedAt) => {
    const { ad } = await addAccount(database.pool);
    const nonce = uuidV7(mintedAt());
    const batch = [clickRecord({ ad, nonce }), clickRecord({ ad, nonce: uuidV7(Date.now() - 40 * DAY_MS) })];
    expect(await chargeBatchTwice(database.pool, batch)).toEqual(['rejected: nonce_out_of_range', 'charged']);
  });
});
