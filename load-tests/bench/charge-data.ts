import type { Pool } from '../../common/postgres/postgres.ts';
import { uuidV7, uuidV7TimeMs } from '../../common/uuid.ts';
import { type BrokerRecord, clickKey, encodeClick, type ReadClick } from '../../contract/click-event.ts';
import { readRecord } from '../../contract/read-record.ts';
import { randomVisitor } from './visitors.ts';

export const PRICE_MICROS = 10_000;

/** The kind of link of the clicks. An impression link has a nonce, which the charge looks up and inserts. */
export type LinkKind = 'evergreen' | 'impression';

/** Creates advertisers 1…`count`, each with a campaign and an ad of the same id, and a budget that is never exhausted. */
export async function makeAdvertisers(pool: Pool, count: number): Promise<void> {
  const budget = 1_000_000_000_000_000;
  await pool.query(
    `insert into advertiser (name, currency, budget_micros, max_price_micros)
     select 'Bench ' || n, 'USD', $2, $3 from generate_series(1, $1::int) n`,
    [count, budget, PRICE_MICROS],
  );
  await pool.query(
    `insert into budget_entry (advertiser_id, kind, amount_micros, reference)
     select id, 'top_up', budget_micros, 'bench' from advertiser`,
  );
  await pool.query(
    `insert into campaign (advertiser_id, name) select id, 'Bench' from advertiser order by id`,
  );
  await pool.query(
    `insert into ad (campaign_id, advertiser_id, price_micros, url_template)
     select id, advertiser_id, $1, 'https://example.com/?click={click_id}' from campaign order by id`,
    [PRICE_MICROS],
  );
}

/**
 * Generates records of new clicks on the ads of advertisers 1…`advertisers`, in random order. The nonces of impression links have random times
 * within the last `nonceMs`; with 0, the current time. Each click is of one of as many `publishers`; with 0, of none.
 */
export function makeRecords(
  count: number,
  advertisers: number,
  kind: LinkKind,
  { nonceMs = 0, publishers = 0 } = {},
): BrokerRecord[] {
  const spoolId = uuidV7();
  return Array.from({ length: count }, (_, index) => {
    const clickId = uuidV7();
    const id = 1 + Math.floor(Math.random() * advertisers);
    const click = encodeClick({
      clickId,
      nonce: kind === 'impression' ? uuidV7(Date.now() - Math.floor(Math.random() * nonceMs)) : null,
      adId: id,
      campaignId: id,
      advertiserId: id,
      priceMicros: PRICE_MICROS,
      clickedAt: uuidV7TimeMs(clickId),
      invalid: null,
      budgetExhausted: false,
      ...randomVisitor(),
      publisher: publishers === 0 ? null : `publisher-${Math.floor(Math.random() * publishers)}`,
    });
    return { key: clickKey(spoolId, index + 1), value: Buffer.from(click) };
  });
}

/** Decodes records like an event source. */
export function decodeRecords(records: readonly BrokerRecord[]): ReadClick[] {
  return records.map((record, index) => {
    const read = readRecord(record, `bench ${index}`);
    if (read.is !== 'click') throw new Error('Expected a click');
    return read;
  });
}

/** Assigns clicks to lanes by advertiser and splits each lane into batches, like the batch dispatcher. */
export function splitBatches(clicks: readonly ReadClick[], lanes: number, size: number): ReadClick[][][] {
  const byLane = Array.from({ length: lanes }, (): ReadClick[] => []);
  for (const record of clicks) byLane[record.click.advertiserId % lanes]?.push(record);
  return byLane.filter((lane) => lane.length > 0).map((lane) => toBatches(lane, size));
}

/** Splits clicks into lanes without regard to advertisers, like processors behind a uniformly distributed record key. */
export function splitEvenly(clicks: readonly ReadClick[], lanes: number, size: number): ReadClick[][][] {
  const each = Math.ceil(clicks.length / lanes);
  return Array.from({ length: lanes }, (_, lane) =>
    toBatches(clicks.slice(lane * each, (lane + 1) * each), size),
  );
}

function toBatches(lane: readonly ReadClick[], size: number): ReadClick[][] {
  return Array.from({ length: Math.ceil(lane.length / size) }, (_, index) =>
    lane.slice(index * size, (index + 1) * size),
  );
}
