import { TollwayError } from '../../common/errors.ts';
import { type Connection, inTransaction, type Pool } from '../../common/postgres/postgres.ts';
import { sleep } from '../../common/process.ts';
import { clickKey, type ReadClick, type ReadRecord, type Unreadable } from '../../contract/click-event.ts';
import { collectKeys } from '../../ledger/batch-keys.ts';
import { updateBudgetFlags } from '../../ledger/budget-flag.ts';
import {
  identityOf,
  insertDeadLetters,
  type Rejection,
  type RejectReason,
} from '../../ledger/dead-letters.ts';
import { settleLateKeys } from '../../ledger/late-keys.ts';
import type { Verdict } from '../../ledger/outcome.ts';
import {
  appendSpoolCounters,
  countBySpool,
  readSettledSequences,
  type SpoolCounts,
} from '../../ledger/spool-counters.ts';
import {
  BEGIN_CHARGE,
  blockNewAds,
  chargeBalances,
  hasPriorOutcome,
  type KnownAd,
  LedgerRows,
  type LockedAdvertiser,
  lockAdvertisers,
  lockSpoolsExclusive,
  lockSpoolsShared,
  type PriorOutcomes,
  readAds,
  readPriorOutcomes,
  readPriorRejections,
  readWindow,
  type SettledClick,
} from '../../ledger/store.ts';
import { type Allocation, type Balances, openAllocation } from './allocate.ts';
import { dedupeBatch } from './dedupe-batch.ts';
import { type ChargeContext, rejectionReason } from './validate-click.ts';

export type ChargeOptions = {
  /** A click older than this when it arrives is `rejected: too_old`. */
  readonly clickAgeMaxDays: number;
};

/** What became of one record. */
export type Outcome =
  | Verdict
  | { readonly outcome: 'rejected'; readonly reason: RejectReason }
  | { readonly outcome: 'duplicate'; readonly reason: null }
  | { readonly outcome: 'watermark'; readonly reason: null };

/** In the currency of the advertiser. */
export type OverDelivery = { readonly currency: string; readonly micros: bigint };

/** What became of a batch, committed. */
export type Settlement = {
  /** One for each record, in the order of the batch. */
  readonly outcomes: readonly Outcome[];
  /** Value of the over-budget clicks that no budget-exhausted flag had marked, by advertiser id. */
  readonly overDelivery: ReadonlyMap<number, OverDelivery>;
  /** How many duplicates brought the key that the settled click lacked. */
  readonly lateKeys: number;
};

const DUPLICATE: Outcome = { outcome: 'duplicate', reason: null };
const WATERMARK: Outcome = { outcome: 'watermark', reason: null };
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
  // Nearly every batch is all new: the first time the ledger's key is trusted to say so if it is not.
  return retryRaces((race) =>
    inTransaction(pool, (connection) => settle(connection, batch, options, race > 1), BEGIN_CHARGE),
  );
}

/** Runs a transaction again, a few times, when it lost a race against another one. `race` counts from 1. */
export async function retryRaces<T>(transact: (race: number) => Promise<T>): Promise<T> {
  for (let race = 1; ; race += 1) {
    try {
      return await transact(race);
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
      const keys = collectKeys(clicks);
      await lockAdvertisers(connection, keys.advertiserIds);
      // Alone: whether the sequence is settled is read below, and must hold until the commit.
      await lockSpoolsExclusive(connection, record.from === null ? [] : [record.from.spoolId]);
      const window = await readWindow(connection);
      const known = await readPriorOutcomes(connection, clicks, keys, window);
      const late = await settleLateKeys(connection, clicks, known, window);
      const poison: Rejection = { record, reason: 'poison', detail };
      const rejections = clicks.some((click) => hasPriorOutcome(click, known))
        ? []
        : await withoutSettled(connection, [poison], () => new Set());
      const fresh = await insertDeadLetters(connection, rejections);
      await appendSpoolCounters(connection, [...late, ...countBySpool([], rejections, fresh, [])]);
      const outcomes = outcomesOf([record], null, [], rejections, fresh);
      return { outcomes, overDelivery: new Map(), lateKeys: lateKeysOf(late) };
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
  const { clicks, places, unreadable, watermarks } = dedupeBatch(batch);

  // Everything that decides is read after the locks: until the commit nobody else settles these advertisers' clicks.
  const keys = collectKeys(clicks);
  const advertisers = await lockAdvertisers(connection, keys.advertiserIds);
  const unreadableSpools = unreadable.flatMap(({ from }) => from?.spoolId ?? []);
  const spools = [...new Set([...keys.spools.keys(), ...unreadableSpools])];
  if (unreadableSpools.length === 0) await lockSpoolsShared(connection, spools);
  else await lockSpoolsExclusive(connection, spools);
  const window = await readWindow(connection);
  const readOutcomes = lookUp ? readPriorOutcomes : readPriorRejections;
  const known = await readOutcomes(connection, clicks, keys, window);
  const nothingKnown = known.clickIds.size + known.rejected.size === 0;
  const unsettled = nothingKnown ? clicks : clicks.filter((record) => !hasPriorOutcome(record, known));
  const settledBefore = options === 'redrive' ? null : readSettledSequences;
  const late =
    known.unkeyed.size === 0
      ? []
      : await settleLateKeys(connection, clicks, known, window, { settledBefore });
  const ads = await readAdsSurely(connection, nothingKnown ? keys.adIds : collectKeys(unsettled).adIds);
  failIfUnlocked(unsettled, ads, advertisers);
  const clickAgeMaxDays = options === 'redrive' ? null : options.clickAgeMaxDays;
  const allocation = openAllocation(balancesOf(ads, advertisers, known));
  const { rows, settled, rejectionOf } = judge(unsettled, { ads, window, clickAgeMaxDays }, allocation);
  if (!lookUp && rejectionOf.length > 0) {
    // It gets no row that could fail: only a look tells whether it has one from before, when nothing was wrong with it.
    throw new TollwayError(LOST_RACE, 'A click has to be looked up before it is rejected', {
      retryable: true,
    });
  }
  const objected = onePerIdentity([
    ...unreadable.map((record) => ({ record, reason: record.reason, detail: record.detail })),
    ...rejectionOf,
  ]);
  const settledNow = () =>
    new Set([...settled.map(({ record }) => identityOf(record)), ...late.flatMap(identitiesOf)]);
  const rejections =
    options === 'redrive' ? objected : await withoutSettled(connection, objected, settledNow);

  const fresh = await insertDeadLetters(connection, rejections);
  const counters = [...late, ...countBySpool(settled, rejections, fresh, watermarks)];
  await rows.insert(connection);
  await chargeBalances(connection, allocation.chargedByAdvertiser(), allocation.chargedByCampaign());
  await appendSpoolCounters(connection, counters);
  await updateBudgetFlags(connection, nearTheirLimit(allocation, advertisers, ads));
  return {
    outcomes: outcomesOf(batch, places, settled, rejections, fresh),
    overDelivery: overDeliveryOf(settled, advertisers),
    lateKeys: lateKeysOf(late),
  };
}

/** The identities whose sequences a counters settles. */
function identitiesOf({ spoolId, sequences }: SpoolCounts): string[] {
  return spoolId === null ? [] : sequences.map((sequence) => clickKey(spoolId, sequence));
}

function lateKeysOf(counters: readonly SpoolCounts[]): number {
  return counters.filter(({ spoolId }) => spoolId !== null).length;
}

/** Decides about clicks. All that there is to do about one is done at once: a batch is larger than what a core has at hand. */
function judge(clicks: readonly ReadClick[], context: ChargeContext, allocation: Allocation) {
  const rows = new LedgerRows();
  const settled: SettledClick[] = [];
  const rejectionOf: Rejection[] = [];
  for (const record of clicks) {
    const rejection = rejectionReason(record, context);
    if (rejection !== null) {
      rejectionOf.push({ record, ...rejection });
      continue;
    }
    const one: SettledClick = { record, verdict: allocation.judge(record.click) };
    rows.add(one);
    settled.push(one);
  }
  return { rows, settled, rejectionOf };
}

/**
 * Reads the ads of clicks. Where one is unknown, it looks again with new ads locked out: otherwise one copy of a click
 * could be rejected while another, a moment later, finds the ad and is charged.
 */
async function readAdsSurely(connection: Connection, ids: readonly number[]): Promise<Map<number, KnownAd>> {
  if (ids.length === 0) return new Map();
  const ads = await readAds(connection, ids);
  if (ids.every((id) => ads.has(id))) return ads;
  await blockNewAds(connection);
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
    const keys = ads.get(click.adId)?.advertiserId === click.advertiserId;
    if (keys && !advertisers.has(click.advertiserId)) {
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
  settledNow: () => ReadonlySet<string>,
): Promise<readonly Rejection[]> {
  if (rejections.length === 0) return [];
  const isSettled = await readSettledSequences(
    connection,
    rejections.flatMap(({ record }) => record.from ?? []),
  );
  const identities = settledNow();
  return rejections.filter(
    ({ record }) => record.from === null || !(isSettled(record.from) || identities.has(identityOf(record))),
  );
}

function balancesOf(
  ads: ReadonlyMap<number, KnownAd>,
  advertisers: ReadonlyMap<number, LockedAdvertiser>,
  known: PriorOutcomes,
): Balances {
  const caps = new Map<number, bigint>();
  for (const { campaignId, capRemainingMicros } of ads.values()) {
    if (capRemainingMicros !== null) caps.set(campaignId, capRemainingMicros);
  }
  const budgets = new Map([...advertisers].map(([id, { remainingMicros }]) => [id, remainingMicros]));
  return { budgets, caps, spentNonces: known.spentNonces };
}

/** Advertisers whose charges may have brought them to where some ad is no longer paid for. */
function nearTheirLimit(
  allocation: Allocation,
  advertisers: ReadonlyMap<number, LockedAdvertiser>,
  ads: ReadonlyMap<number, KnownAd>,
): number[] {
  const near = new Set<number>();
  for (const [id, charged] of allocation.chargedByAdvertiser()) {
    const advertiser = advertisers.get(id);
    if (advertiser && advertiser.remainingMicros - charged < advertiser.maxPriceMicros) near.add(id);
  }
  const byCampaign = allocation.chargedByCampaign();
  for (const { capRemainingMicros, campaignId, advertiserId } of ads.values()) {
    const charged = byCampaign.get(campaignId);
    const maxPriceMicros = advertisers.get(advertiserId)?.maxPriceMicros ?? 0n;
    if (capRemainingMicros !== null && charged && capRemainingMicros - charged < maxPriceMicros)
      near.add(advertiserId);
  }
  return [...near];
}

/** `places` are those of the clicks that are no copies, in their order; `null` where that is the order of the batch. */
function outcomesOf(
  batch: readonly ReadRecord[],
  places: readonly number[] | null,
  settled: readonly SettledClick[],
  rejections: readonly Rejection[],
  fresh: ReadonlySet<string>,
): Outcome[] {
  if (settled.length === batch.length) {
    // Nearly always: every record is a click that was settled now.
    const verdicts: Outcome[] = settled.map(({ verdict }) => verdict);
    if (places === null) return verdicts;
    const outcomes = [...verdicts];
    for (const [at, place] of places.entries()) outcomes[place] = verdicts[at] ?? DUPLICATE;
    return outcomes;
  }
  // By the record itself and not by its id: of two copies in one batch, one has the outcome and one is a duplicate.
  const outcomes = new Map<ReadRecord, Outcome>();
  for (const { record, verdict } of settled) outcomes.set(record, verdict);
  for (const { record, reason } of rejections) {
    if (fresh.has(identityOf(record))) outcomes.set(record, { outcome: 'rejected', reason });
  }
  return batch.map((record) => (record.is === 'watermark' ? WATERMARK : (outcomes.get(record) ?? DUPLICATE)));
}

function overDeliveryOf(
  settled: readonly SettledClick[],
  advertisers: ReadonlyMap<number, LockedAdvertiser>,
): Map<number, OverDelivery> {
  const sums = new Map<number, OverDelivery>();
  for (const { record, verdict } of settled) {
    if (verdict.outcome !== 'over_budget' || record.click.budgetExhausted) continue;
    const { advertiserId, priceMicros } = record.click;
    const currency = advertisers.get(advertiserId)?.currency ?? '';
    const before = sums.get(advertiserId)?.micros ?? 0n;
    sums.set(advertiserId, { currency, micros: before + BigInt(priceMicros) });
  }
  return sums;
}
