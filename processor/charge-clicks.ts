import { TollwayError } from '../common/errors.ts';
import { sleep } from '../common/lifecycle.ts';
import { type Connection, inTransaction, type Pool } from '../common/postgres.ts';
import { uuidV7TimeMs } from '../common/uuid.ts';
import type { ReadClick, ReadMark, ReadRecord, Unreadable } from '../producer/click-event.ts';
import { type Allocation, allocate, type Balances, type Verdict } from './allocate.ts';
import { updateBrakes } from './brake.ts';
import { identityOf, insertDeadLetters, type Rejection, type RejectReason } from './dead-letters.ts';
import {
  appendTallies,
  chargeBalances,
  insertLedgerRows,
  insertSpentNonces,
  type Known,
  type KnownAd,
  type LedgerWindow,
  type LockedAdvertiser,
  lockAdvertisers,
  lockOutNewAds,
  type OriginTally,
  readAds,
  readKnown,
  readWindow,
} from './ledger.ts';

export type ChargeOptions = {
  /** A click older than this when it arrives is `rejected: too_old`; `null` takes any the ledger has a day for. */
  readonly clickAgeMaxDays: number | null;
};

/** What became of one record. */
export type Outcome =
  | Verdict
  | { readonly outcome: 'rejected'; readonly reason: RejectReason }
  | { readonly outcome: 'duplicate'; readonly reason: null }
  | { readonly outcome: 'mark'; readonly reason: null };

/** What became of a batch, committed. */
export type Settlement = {
  /** One for each record, in the order of the batch. */
  readonly outcomes: readonly Outcome[];
  /** Value of the over-budget clicks that no brake had marked, in micros by currency. */
  readonly overDeliveryMicros: ReadonlyMap<string, bigint>;
};

const DUPLICATE: Outcome = { outcome: 'duplicate', reason: null };
const MARK: Outcome = { outcome: 'mark', reason: null };
/** How often a transaction that lost a race against another is tried again at once. */
const RACES_MAX = 5;
/** SQLSTATE of lost races: serialization failure, deadlock, another copy of the same click. */
const LOST_RACE = 'lost_race';
const RACE_CODES = new Set(['40001', '40P01', '23505', LOST_RACE]);

/**
 * Charges a batch of records, exactly once each, in one transaction. Stateless and idempotent: any batch may come
 * again, in part or in another order, here or elsewhere at the same time.
 *
 * Resolves once every record is settled and committed: charged, over budget, invalid, quarantined, or found
 * to be a duplicate. Throws otherwise, and then nothing of the batch has happened, or all of it has and the
 * answer was lost: the same batch again is right in both cases. `failureKind` says whether it can succeed.
 */
export async function chargeClicks(
  pool: Pool,
  batch: readonly ReadRecord[],
  options: ChargeOptions,
): Promise<Settlement> {
  for (let race = 1; ; race += 1) {
    try {
      return await inTransaction(pool, (connection) => settle(connection, batch, options));
    } catch (error) {
      const code = (error as { code?: unknown }).code;
      if (race >= RACES_MAX || typeof code !== 'string' || !RACE_CODES.has(code)) throw error;
      await sleep(Math.random() * 10 * 2 ** race);
    }
  }
}

/**
 * Quarantines one record that the handler cannot settle whatever it does, as `rejected: poison`.
 * The last resort of a host, for a record that fails alone while its neighbours pass.
 */
export async function quarantine(
  pool: Pool,
  record: ReadClick | Unreadable,
  detail: string,
): Promise<Settlement> {
  return inTransaction(pool, async (connection) => {
    const known = await readKnown(connection, record.is === 'click' ? [record.click.clickId] : [], [], []);
    if (known.clickIds.size > 0) return { outcomes: [DUPLICATE], overDeliveryMicros: new Map() };
    const rejection: Rejection = { record, reason: 'poison', detail };
    const fresh = await insertDeadLetters(connection, [rejection]);
    await appendTallies(connection, tally([], [rejection], fresh, []));
    const outcome: Outcome = fresh.size > 0 ? { outcome: 'rejected', reason: 'poison' } : DUPLICATE;
    return { outcomes: [outcome], overDeliveryMicros: new Map() };
  });
}

/** The transaction of a batch. Exported for the redrive of dead letters, which has one more step in its own. */
export async function settle(
  connection: Connection,
  batch: readonly ReadRecord[],
  options: ChargeOptions,
): Promise<Settlement> {
  const { clicks, unreadable, marks } = sortOut(batch);

  // Everything that decides is read after the locks: until the commit nobody else settles these advertisers' clicks.
  const advertisers = await lockAdvertisers(
    connection,
    distinct(clicks.map(({ click }) => click.advertiserId)),
  );
  const window = await readWindow(connection);
  const known = await readKnown(
    connection,
    clicks.map(({ click }) => click.clickId),
    distinct(clicks.flatMap(({ click }) => click.nonce ?? [])),
    [...clicks, ...unreadable].map(identityOf),
  );
  const unsettled = clicks.filter(
    (record) => !known.clickIds.has(record.click.clickId) && !known.rejected.has(identityOf(record)),
  );
  const ads = await readAdsSurely(connection, unsettled);
  failIfUnlocked(unsettled, ads, advertisers);
  const { payable, rejections } = examine(unsettled, unreadable, known, {
    ads,
    window,
    options,
  });
  const allocation = allocate(payable.map(toAllocatable), balancesOf(payable, ads, advertisers, known));

  const settled = allocation.verdicts.map(({ click, verdict }) => ({ record: click.record, verdict }));
  if (settled.length > 0) await insertLedgerRows(connection, settled);
  await insertSpentNonces(connection, settled);
  await chargeBalances(connection, allocation.chargedByAdvertiser, allocation.chargedByCampaign);
  const fresh = await insertDeadLetters(connection, rejections);
  await appendTallies(connection, tally(settled, rejections, fresh, marks));
  await updateBrakes(connection, nearTheirBrake(allocation, advertisers, ads));
  return {
    outcomes: outcomesOf(batch, settled, rejections, fresh),
    overDeliveryMicros: overDelivery(settled, advertisers),
  };
}

/** Splits a batch by what its records are, without the copies that it holds itself. */
function sortOut(batch: readonly ReadRecord[]) {
  const clicks = new Map<string, ReadClick>();
  const unreadable = new Map<string, Unreadable>();
  const marks: ReadMark[] = [];
  for (const record of batch) {
    if (record.is === 'mark') marks.push(record);
    else if (record.is === 'unreadable') unreadable.set(identityOf(record), record);
    else if (!clicks.has(record.click.clickId)) clicks.set(record.click.clickId, record);
  }
  return { clicks: [...clicks.values()], unreadable: [...unreadable.values()], marks };
}

/**
 * Reads the ads of clicks. Where one is unknown, it looks again with new ads locked out: otherwise one copy of a click
 * could be rejected while another, a moment later, finds the ad and is charged.
 */
async function readAdsSurely(
  connection: Connection,
  clicks: readonly ReadClick[],
): Promise<Map<number, KnownAd>> {
  const ids = distinct(clicks.map(({ click }) => click.adId));
  if (ids.length === 0) return new Map();
  const ads = await readAds(connection, ids);
  if (ids.every((id) => ads.has(id))) return ads;
  await lockOutNewAds(connection);
  return readAds(connection, ids);
}

/** An advertiser that was born between our locks and our look at the ads is not locked: begin again. */
function failIfUnlocked(
  clicks: readonly ReadClick[],
  ads: ReadonlyMap<number, KnownAd>,
  advertisers: ReadonlyMap<number, LockedAdvertiser>,
): void {
  for (const { click } of clicks) {
    const named = ads.get(click.adId)?.advertiserId === click.advertiserId;
    if (named && !advertisers.has(click.advertiserId)) {
      const message = `Advertiser ${click.advertiserId} appeared during the transaction`;
      throw new TollwayError(LOST_RACE, message, { retryable: true });
    }
  }
}

type Surroundings = {
  readonly ads: ReadonlyMap<number, KnownAd>;
  readonly window: LedgerWindow;
  readonly options: ChargeOptions;
};

/** Sorts what is not settled into what can be paid for and what has to be rejected. */
function examine(
  clicks: readonly ReadClick[],
  unreadable: readonly Unreadable[],
  known: Known,
  surroundings: Surroundings,
): { payable: ReadClick[]; rejections: Rejection[] } {
  const payable: ReadClick[] = [];
  const rejections: Rejection[] = unreadable
    .filter((record) => !known.rejected.has(identityOf(record)))
    .map((record) => ({ record, reason: record.reason, detail: record.detail }));
  for (const record of clicks) {
    const objection = objectionTo(record, surroundings);
    if (objection === null) payable.push(record);
    else rejections.push({ record, ...objection });
  }
  return { payable, rejections };
}

const DAY_MS = 86_400_000;

function objectionTo(
  { click }: ReadClick,
  { ads, window, options }: Surroundings,
): { reason: RejectReason; detail: string } | null {
  const { clickedAt, nonce } = click;
  if (clickedAt < window.clickFloorMs || clickedAt >= window.clickAheadMs) {
    const range = `${iso(window.clickFloorMs)} up to ${iso(window.clickAheadMs)}`;
    return { reason: 'id_out_of_range', detail: `Expected a click of ${range}, got ${iso(clickedAt)}` };
  }
  if (options.clickAgeMaxDays !== null && window.nowMs - clickedAt > options.clickAgeMaxDays * DAY_MS) {
    const detail = `Expected a click of the last ${options.clickAgeMaxDays} days, got ${iso(clickedAt)}`;
    return { reason: 'too_old', detail };
  }
  if (nonce !== null) {
    const mintedAt = uuidV7TimeMs(nonce);
    if (mintedAt < window.nonceFloorMs || mintedAt >= window.nonceAheadMs) {
      const range = `${iso(window.nonceFloorMs)} up to ${iso(window.nonceAheadMs)}`;
      return { reason: 'nonce_out_of_range', detail: `Expected a link made ${range}, got ${iso(mintedAt)}` };
    }
  }
  const ad = ads.get(click.adId);
  if (ad === undefined) return { reason: 'unknown_ad', detail: `Expected a known ad, got ${click.adId}` };
  if (ad.advertiserId !== click.advertiserId || ad.campaignId !== click.campaignId) {
    return {
      reason: 'wrong_advertiser',
      detail:
        `Expected advertiser ${ad.advertiserId} and campaign ${ad.campaignId} for ad ${click.adId}, ` +
        `got ${click.advertiserId} and ${click.campaignId}`,
    };
  }
  return null;
}

function iso(timeMs: number): string {
  return new Date(timeMs).toISOString();
}

function toAllocatable(record: ReadClick) {
  const { clickId, nonce, advertiserId, campaignId, priceMicros, invalid } = record.click;
  return { clickId, nonce, advertiserId, campaignId, priceMicros, invalid, record };
}

function balancesOf(
  payable: readonly ReadClick[],
  ads: ReadonlyMap<number, KnownAd>,
  advertisers: ReadonlyMap<number, LockedAdvertiser>,
  known: Known,
): Balances {
  const caps = new Map<number, bigint>();
  for (const { click } of payable) {
    const left = ads.get(click.adId)?.capRemainingMicros;
    if (left !== undefined && left !== null) caps.set(click.campaignId, left);
  }
  const budgets = new Map([...advertisers].map(([id, { remainingMicros }]) => [id, remainingMicros]));
  return { budgets, caps, spentNonces: known.spentNonces };
}

type SettledClick = { readonly record: ReadClick; readonly verdict: Verdict };

/** Counts by origin what this transaction settles. Foreign records, of no click of ours, are outside the books. */
function tally(
  settled: readonly SettledClick[],
  rejections: readonly Rejection[],
  fresh: ReadonlySet<string>,
  marks: readonly ReadMark[],
): OriginTally[] {
  const tallies = new Map<string | null, OriginTally>();
  const of = (origin: string | null): OriginTally => {
    let found = tallies.get(origin);
    if (!found) {
      found = { origin, accepted: 0, charged: 0, over_budget: 0, invalid: 0, rejected: 0, sequences: [] };
      tallies.set(origin, found);
    }
    return found;
  };
  for (const mark of marks) {
    const row = of(mark.origin);
    row.accepted = Math.max(row.accepted, mark.accepted);
  }
  for (const { record, verdict } of settled) {
    const row = of(record.from?.origin ?? null);
    row[verdict.outcome] += 1;
    if (record.from) row.sequences.push(record.from.sequence);
  }
  for (const { record } of rejections) {
    if (!fresh.has(identityOf(record)) || isForeign(record)) continue;
    const row = of(record.from?.origin ?? null);
    row.rejected += 1;
    if (record.from) row.sequences.push(record.from.sequence);
  }
  return [...tallies.values()];
}

/** Whether a record is no click of ours at all: it has neither our key nor a click in it. */
export function isForeign(record: ReadRecord): boolean {
  return record.is === 'unreadable' && record.from === null;
}

/** Advertisers whose charges may have brought them to where some ad is no longer paid for. */
function nearTheirBrake(
  allocation: Allocation<ReturnType<typeof toAllocatable>>,
  advertisers: ReadonlyMap<number, LockedAdvertiser>,
  ads: ReadonlyMap<number, KnownAd>,
): number[] {
  const near = new Set<number>();
  for (const [id, charged] of allocation.chargedByAdvertiser) {
    const advertiser = advertisers.get(id);
    if (advertiser && advertiser.remainingMicros - charged < advertiser.dearestAdMicros) near.add(id);
  }
  for (const { capRemainingMicros, campaignId, advertiserId } of ads.values()) {
    const charged = allocation.chargedByCampaign.get(campaignId);
    const dearest = advertisers.get(advertiserId)?.dearestAdMicros ?? 0n;
    if (capRemainingMicros !== null && charged && capRemainingMicros - charged < dearest)
      near.add(advertiserId);
  }
  return [...near];
}

function outcomesOf(
  batch: readonly ReadRecord[],
  settled: readonly SettledClick[],
  rejections: readonly Rejection[],
  fresh: ReadonlySet<string>,
): Outcome[] {
  // By the record itself and not by its id: of two copies in one batch, one has the outcome and one is a duplicate.
  const outcomes = new Map<ReadRecord, Outcome>();
  for (const { record, verdict } of settled) outcomes.set(record, verdict);
  for (const { record, reason } of rejections) {
    if (fresh.has(identityOf(record))) outcomes.set(record, { outcome: 'rejected', reason });
  }
  return batch.map((record) => (record.is === 'mark' ? MARK : (outcomes.get(record) ?? DUPLICATE)));
}

function overDelivery(
  settled: readonly SettledClick[],
  advertisers: ReadonlyMap<number, LockedAdvertiser>,
): Map<string, bigint> {
  const sums = new Map<string, bigint>();
  for (const { record, verdict } of settled) {
    if (verdict.outcome !== 'over_budget' || record.click.braked) continue;
    const currency = advertisers.get(record.click.advertiserId)?.currency ?? '';
    sums.set(currency, (sums.get(currency) ?? 0n) + BigInt(record.click.priceMicros));
  }
  return sums;
}

function distinct<T>(values: readonly T[]): T[] {
  return [...new Set(values)];
}
