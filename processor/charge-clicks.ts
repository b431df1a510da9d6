import { TollwayError } from '../common/errors.ts';
import { sleep } from '../common/lifecycle.ts';
import { type Connection, inTransaction, type Pool } from '../common/postgres.ts';
import type { ReadClick, ReadMark, ReadRecord, Unreadable } from '../producer/click-event.ts';
import { type Allocation, allocate, type Balances, type Verdict } from './allocate.ts';
import { updateBrakes } from './brake.ts';
import { identityOf, insertDeadLetters, type Rejection, type RejectReason } from './dead-letters.ts';
import {
  BEGIN_CHARGE,
  chargeBalances,
  insertLedgerRows,
  insertSpentNonces,
  isKnown,
  type Known,
  type KnownAd,
  type LockedAdvertiser,
  lockAdvertisers,
  lockOrigins,
  lockOutNewAds,
  readAds,
  readKnown,
  readWindow,
  type Settled,
} from './ledger.ts';
import { examine } from './objections.ts';
import { appendTallies, readSettledSequences, tallyOf } from './tally.ts';

export type ChargeOptions = {
  /** A click older than this when it arrives is `rejected: too_old`. */
  readonly clickAgeMaxDays: number;
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
      // Nearly every batch is all new: the first time the ledger's key is trusted to say so if it is not.
      return await inTransaction(
        pool,
        (connection) => settle(connection, batch, options, race > 1),
        BEGIN_CHARGE,
      );
    } catch (error) {
      const code = (error as { code?: unknown }).code;
      if (race >= RACES_MAX || typeof code !== 'string' || !RACE_CODES.has(code)) throw error;
      if (race > 1) await sleep(Math.random() * 10 * 2 ** race);
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
  return inTransaction(
    pool,
    async (connection) => {
      const clicks = record.is === 'click' ? [record] : [];
      await lockAdvertisers(
        connection,
        clicks.map(({ click }) => click.advertiserId),
      );
      const known = await readKnown(connection, clicks, await readWindow(connection));
      const poison: Rejection = { record, reason: 'poison', detail };
      const rejections = clicks.some((click) => isKnown(click, known))
        ? []
        : await withoutSettled(connection, [poison], []);
      const fresh = await insertDeadLetters(connection, rejections);
      await appendTallies(connection, tallyOf([], rejections, fresh, []));
      return { outcomes: outcomesOf([record], [], rejections, fresh), overDeliveryMicros: new Map() };
    },
    BEGIN_CHARGE,
  );
}

/**
 * The transaction of a batch. Without `lookUp` it takes every click for a new one: one that is in the ledger fails the
 * insert (23505) and all is undone. Exported for the redrive of dead letters, which has one more step in its own.
 */
export async function settle(
  connection: Connection,
  batch: readonly ReadRecord[],
  options: ChargeOptions | 'redrive',
  lookUp = true,
): Promise<Settlement> {
  const { clicks, unreadable, marks } = sortOut(batch);

  // Everything that decides is read after the locks: until the commit nobody else settles these advertisers' clicks.
  const advertisers = await lockAdvertisers(
    connection,
    distinct(clicks.map(({ click }) => click.advertiserId)),
  );
  await lockOrigins(
    connection,
    distinct([...clicks, ...unreadable].flatMap(({ from }) => from?.origin ?? [])),
    unreadable.some(({ from }) => from !== null),
  );
  const window = await readWindow(connection);
  const known = await readKnown(connection, clicks, window, { inLedger: lookUp });
  const nothingKnown = known.clickIds.size + known.rejected.size === 0;
  const unsettled = nothingKnown ? clicks : clicks.filter((record) => !isKnown(record, known));
  const ads = await readAdsSurely(connection, unsettled);
  failIfUnlocked(unsettled, ads, advertisers);
  const clickAgeMaxDays = options === 'redrive' ? null : options.clickAgeMaxDays;
  const examined = examine(unsettled, unreadable, { ads, window, clickAgeMaxDays });
  const { payable } = examined;
  const objected = onePerIdentity(examined.rejections);
  if (!lookUp && objected.some(({ record }) => record.is === 'click')) {
    // It gets no row that could fail: only a look tells whether it has one from before, when nothing was wrong with it.
    throw new TollwayError(LOST_RACE, 'A click has to be looked up before it is rejected', {
      retryable: true,
    });
  }
  const rejections = options === 'redrive' ? objected : await withoutSettled(connection, objected, payable);
  const allocation = allocate(payable, balancesOf(ads, advertisers, known));

  const { settled } = allocation;
  if (settled.length > 0) await insertLedgerRows(connection, settled);
  await insertSpentNonces(connection, settled);
  await chargeBalances(connection, allocation.chargedByAdvertiser, allocation.chargedByCampaign);
  const fresh = await insertDeadLetters(connection, rejections);
  await appendTallies(connection, tallyOf(settled, rejections, fresh, marks));
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
  // Nearly always, and there are fewer ads than clicks.
  if ([...ads.values()].every(({ advertiserId }) => advertisers.has(advertiserId))) return;
  for (const { click } of clicks) {
    const named = ads.get(click.adId)?.advertiserId === click.advertiserId;
    if (named && !advertisers.has(click.advertiserId)) {
      const message = `Advertiser ${click.advertiserId} appeared during the transaction`;
      throw new TollwayError(LOST_RACE, message, { retryable: true });
    }
  }
}

/** Of several rejected records under one key, one settles its sequence. */
function onePerIdentity(rejections: readonly Rejection[]): Rejection[] {
  return [...new Map(rejections.map((rejection) => [identityOf(rejection.record), rejection])).values()];
}

/**
 * Leaves out what would settle a sequence a second time: a click of a day that the ledger has dropped, or bytes that are
 * no click under the key of one. They are copies, good or bad, of what is in the books.
 */
async function withoutSettled(
  connection: Connection,
  rejections: readonly Rejection[],
  payable: readonly ReadClick[],
): Promise<readonly Rejection[]> {
  if (rejections.length === 0) return [];
  const isSettled = await readSettledSequences(
    connection,
    rejections.flatMap(({ record }) => record.from ?? []),
  );
  const paidNow = new Set(payable.map(identityOf));
  return rejections.filter(
    ({ record }) => record.from === null || !(isSettled(record.from) || paidNow.has(identityOf(record))),
  );
}

function balancesOf(
  ads: ReadonlyMap<number, KnownAd>,
  advertisers: ReadonlyMap<number, LockedAdvertiser>,
  known: Known,
): Balances {
  const caps = new Map<number, bigint>();
  for (const { campaignId, capRemainingMicros } of ads.values()) {
    if (capRemainingMicros !== null) caps.set(campaignId, capRemainingMicros);
  }
  const budgets = new Map([...advertisers].map(([id, { remainingMicros }]) => [id, remainingMicros]));
  return { budgets, caps, spentNonces: known.spentNonces };
}

/** Advertisers whose charges may have brought them to where some ad is no longer paid for. */
function nearTheirBrake(
  allocation: Allocation<ReadClick>,
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
  settled: readonly Settled[],
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
  settled: readonly Settled[],
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
