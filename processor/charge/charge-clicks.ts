import { TollwayError } from '../../common/errors.ts';
import { type Connection, inTransaction, type Pool } from '../../common/postgres/postgres.ts';
import { clickKey, type ReadClick, type ReadRecord, type Unreadable } from '../../contract/click-event.ts';
import { updateBudgetFlags } from '../../ledger/accounts/budget-flag.ts';
import { emitLowBudget } from '../../ledger/accounts/low-budget.ts';
import { chargeBalances, type KnownAd, readAds } from '../../ledger/charge/balances.ts';
import { type BatchKeys, collectKeys } from '../../ledger/charge/batch-keys.ts';
import { type CampaignDay, chargeCampaignDays, readCampaignDays } from '../../ledger/charge/campaign-days.ts';
import { identityOf, insertDeadLetters, type Rejection } from '../../ledger/charge/dead-letters.ts';
import { noteDeadLetters } from '../../ledger/charge/dead-letters-waiting.ts';
import { EvidenceRows } from '../../ledger/charge/evidence-rows.ts';
import { LedgerRows, type SettledClick } from '../../ledger/charge/ledger-rows.ts';
import {
  hasPriorOutcome,
  type PriorOutcomes,
  readPriorOutcomes,
  readPriorRejections,
} from '../../ledger/charge/prior-outcomes.ts';
import {
  insertUserAgents,
  type UserAgentIds,
  UserAgents,
  userAgentIdsOf,
  userAgentsOf,
} from '../../ledger/charge/user-agents.ts';
import {
  type AdvertiserBalance,
  beginCharge,
  blockNewAds,
  lockAdvertisers,
  lockSpoolsExclusive,
  lockSpoolsShared,
} from '../../ledger/charge-locks.ts';
import type { LedgerWindow } from '../../ledger/ledger-window.ts';
import { recordLateDays } from '../../ledger/reports/rollup.ts';
import {
  appendSpoolCounters,
  countBySpool,
  readSettledSequences,
  type SpoolCounts,
} from '../../ledger/spools/counters.ts';
import { settleLateKeys } from '../../ledger/spools/late-keys.ts';
import { insertSeenDuplicates } from '../../ledger/spools/seen-duplicates.ts';
import { type Allocation, type Balances, openAllocation } from './allocate.ts';
import { dedupeBatch } from './dedupe-batch.ts';
import { findReachedLimits } from './reached-limits.ts';
import { onePerIdentity, withoutSettled } from './rejections.ts';
import { LOST_RACE, retryRaces } from './retry-races.ts';
import { countLateKeys, outcomesOf, overDeliveryOf, type Settlement } from './settlement.ts';
import { traceCharge } from './trace-charge.ts';
import { type ChargeContext, rejectionReason } from './validate-click.ts';

export type ChargeOptions = {
  /** A click older than this when it arrives is `rejected: too_old`. */
  readonly clickAgeMaxDays: number;
  /** Longest wait for each lock, in seconds; by default that of `beginCharge`. */
  readonly lockSeconds?: number;
};

/**
 * Charges a batch of records, each exactly once, in one transaction. Stateless and idempotent: any record can be submitted again, in
 * another batch or order, here or by another processor at the same time.
 *
 * Resolves once every record is settled and committed: charged, over budget, invalid, rejected or a duplicate. When it throws, either
 * nothing of the batch is stored, or the batch is committed and the reply was lost. Submitting the same batch again is correct in both
 * cases. `failureKind` tells whether another attempt can succeed.
 */
export function chargeClicks(
  pool: Pool,
  batch: readonly ReadRecord[],
  options: ChargeOptions,
): Promise<Settlement> {
  return traceCharge(batch, () => chargeBatch(pool, batch, options));
}

async function chargeBatch(
  pool: Pool,
  batch: readonly ReadRecord[],
  options: ChargeOptions,
): Promise<Settlement> {
  const prepared = prepare(batch);
  const userAgents = userAgentsOf(pool);
  return retryRaces(async (attempt) => {
    // Before the transaction: see `UserAgents`.
    const userAgentIds = await userAgents.idsOf(pool, prepared.keys.userAgents);
    // Most batches hold only new clicks, so the first attempt skips the lookup. A click that is in the ledger then violates its primary key.
    const lookup = attempt > 1 ? LOOK_UP : ASSUME_NEW;
    const evidence = { userAgents, userAgentIds };
    return inTransaction(
      pool,
      (connection) => settleWith(connection, prepared, options, lookup, evidence),
      beginCharge(options.lockSeconds),
    );
  });
}

/**
 * Settles a batch in the caller's transaction. Throws `lost_race` when the transaction must be repeated. Exported for the redrive of dead
 * letters, whose transaction has one more step, and for the dry run.
 */
export async function settle(
  connection: Connection,
  batch: readonly ReadRecord[],
  options: ChargeOptions | 'redrive',
): Promise<Settlement> {
  const prepared = prepare(batch);
  const { userAgents } = prepared.keys;
  const evidence = { userAgents: new UserAgents(), userAgentIds: userAgentIdsOf(userAgents) };
  const settlement = await settleWith(connection, prepared, options, LOOK_UP, evidence);
  // At the end, because other charges wait until the commit for a text that they insert too.
  if (evidence.userAgents.keepsEvidence) await insertUserAgents(connection, userAgents);
  return settlement;
}

/** A batch without copies, with the ids that it refers to: what is known before the transaction. */
type PreparedBatch = ReturnType<typeof dedupeBatch> & {
  readonly batch: readonly ReadRecord[];
  readonly keys: BatchKeys;
};

function prepare(batch: readonly ReadRecord[]): PreparedBatch {
  const deduped = dedupeBatch(batch);
  return { ...deduped, batch, keys: collectKeys(deduped.clicks) };
}

type EvidenceContext = { readonly userAgents: UserAgents; readonly userAgentIds: UserAgentIds };

/** How a transaction finds the clicks that were settled before it. */
type PriorLookup = {
  readonly readPrior: typeof readPriorOutcomes;
  readonly checkRejected: (rejected: readonly Rejection[]) => void;
};
const LOOK_UP: PriorLookup = { readPrior: readPriorOutcomes, checkRejected: () => undefined };
/** Assumes that every click is new. If one is in the ledger, its insert fails (23505) and the transaction must be rolled back. */
const ASSUME_NEW: PriorLookup = { readPrior: readPriorRejections, checkRejected: failIfRejected };

async function settleWith(
  connection: Connection,
  { batch, clicks, copies, positions, unreadable, watermarks, keys }: PreparedBatch,
  options: ChargeOptions | 'redrive',
  { readPrior, checkRejected }: PriorLookup,
  evidence: EvidenceContext,
): Promise<Settlement> {
  const isRedrive = options === 'redrive';
  // Everything that decides an outcome is read after these locks: until the commit no other transaction settles these advertisers' clicks.
  const advertisers = await lockAdvertisers(connection, keys.advertiserIds);
  await lockSpools(connection, keys, unreadable);
  const { window, settledAt, prior } = await readPrior(connection, clicks, keys);
  const isAllNew = prior.clickIds.size + prior.rejected.size === 0;
  const { unsettled, duplicates } = isAllNew
    ? { unsettled: clicks, duplicates: copies }
    : splitSettled(clicks, copies, prior);
  const lateKeys =
    prior.unkeyed.size === 0
      ? []
      : await settleLateKeys(connection, clicks, prior, window, {
          settledBefore: isRedrive ? null : readSettledSequences,
        });
  const ads = await readKnownAds(connection, isAllNew ? keys.adIds : collectKeys(unsettled).adIds);
  failIfUnlocked(unsettled, ads, advertisers);

  const days = await readCampaignDays(connection, unsettled, ads);
  const clickAgeMaxDays = isRedrive ? null : options.clickAgeMaxDays;
  const allocation = openAllocation(balancesOf(ads, advertisers, prior, days));
  const rows = new LedgerRows(settledAt, evidenceRows(window, evidence));
  const { settled, rejected } = decide(unsettled, { ads, window, clickAgeMaxDays }, allocation, rows);
  checkRejected(rejected);
  const candidates = onePerIdentity([...unreadable.map(toRejection), ...rejected]);
  const settledNow = () => settledIdentities(settled, lateKeys);
  const rejections = isRedrive ? candidates : await withoutSettled(connection, candidates, settledNow);

  const inserted = await insertDeadLetters(connection, rejections);
  const counters = [...lateKeys, ...countBySpool(settled, rejections, inserted, watermarks)];
  await rows.insert(connection);
  await chargeBalances(connection, allocation.chargedByAdvertiser(), allocation.chargedByCampaign());
  await chargeCampaignDays(connection, allocation.chargedByDay());
  await appendSpoolCounters(connection, counters);
  if (window.evidenceFloorMs !== null) await insertSeenDuplicates(connection, duplicates);
  await recordLateDays(connection, settledAt, rows.earliestMs, settled);
  const { lowBudget, nearLimit } = findReachedLimits(allocation, advertisers, ads);
  await emitLowBudget(connection, lowBudget);
  await updateBudgetFlags(connection, nearLimit);
  await noteDeadLetters(connection, inserted.size);
  return {
    outcomes: outcomesOf(batch, positions, settled, rejections, inserted),
    overDelivery: overDeliveryOf(settled, advertisers),
    lateKeys: countLateKeys(lateKeys),
  };
}

/** Splits off the clicks that were settled before. They are duplicates, as are the copies in the batch. */
function splitSettled(clicks: readonly ReadClick[], copies: readonly ReadClick[], prior: PriorOutcomes) {
  const unsettled: ReadClick[] = [];
  const duplicates = [...copies];
  for (const record of clicks) (hasPriorOutcome(record, prior) ? duplicates : unsettled).push(record);
  return { unsettled, duplicates };
}

/**
 * Locks the spools of a batch. Exclusive if a record is unreadable: whether its sequence is settled is read below and must not change
 * before the commit.
 */
async function lockSpools(
  connection: Connection,
  keys: BatchKeys,
  unreadable: readonly Unreadable[],
): Promise<void> {
  const unreadableSpools = unreadable.flatMap(({ from }) => from?.spoolId ?? []);
  const spools = [...new Set([...keys.spools.keys(), ...unreadableSpools])];
  if (unreadableSpools.length === 0) await lockSpoolsShared(connection, spools);
  else await lockSpoolsExclusive(connection, spools);
}

/**
 * A rejected click inserts no ledger row that could violate the primary key, so only a lookup shows whether it was charged before,
 * when it was still valid. Throws `lost_race` so that the next attempt looks it up.
 */
function failIfRejected(rejected: readonly Rejection[]): void {
  if (rejected.length === 0) return;
  throw new TollwayError(LOST_RACE, 'A click has to be looked up before it is rejected', { retryable: true });
}

function toRejection(record: Unreadable): Rejection {
  return { record, reason: record.reason, detail: record.detail };
}

function settledIdentities(
  settled: readonly SettledClick[],
  lateKeys: readonly SpoolCounts[],
): ReadonlySet<string> {
  const late = lateKeys.flatMap(({ spoolId, sequences }) =>
    spoolId === null ? [] : sequences.map((sequence) => clickKey(spoolId, sequence)),
  );
  return new Set([...settled.map(({ record }) => identityOf(record)), ...late]);
}

/** Tells the next batches whether evidence is kept, and returns where to collect it. */
function evidenceRows(
  { evidenceFloorMs }: LedgerWindow,
  { userAgents, userAgentIds }: EvidenceContext,
): EvidenceRows | null {
  userAgents.keepsEvidence = evidenceFloorMs !== null;
  return evidenceFloorMs === null ? null : new EvidenceRows(evidenceFloorMs, userAgentIds);
}

/** Decides every click and adds its rows in one pass: a batch exceeds the CPU cache, so each further pass would load it again. */
function decide(
  clicks: readonly ReadClick[],
  context: ChargeContext,
  allocation: Allocation,
  rows: LedgerRows,
) {
  const settled: SettledClick[] = [];
  const rejected: Rejection[] = [];
  for (const record of clicks) {
    const rejection = rejectionReason(record, context);
    if (rejection !== null) {
      rejected.push({ record, ...rejection });
      continue;
    }
    const click: SettledClick = { record, verdict: allocation.decide(record.click) };
    rows.add(click);
    settled.push(click);
  }
  return { settled, rejected };
}

/**
 * Reads the ads of clicks. If one is unknown, it blocks inserts of ads and reads again. Otherwise one copy of a click could be rejected
 * while another copy, a moment later, finds the ad and is charged.
 */
async function readKnownAds(connection: Connection, ids: readonly number[]): Promise<Map<number, KnownAd>> {
  if (ids.length === 0) return new Map();
  const ads = await readAds(connection, ids);
  if (ids.every((id) => ads.has(id))) return ads;
  await blockNewAds(connection);
  return readAds(connection, ids);
}

/** Throws `lost_race` if an advertiser was created after the locks were taken and before the ads were read: it is not locked. */
function failIfUnlocked(
  clicks: readonly ReadClick[],
  ads: ReadonlyMap<number, KnownAd>,
  advertisers: ReadonlyMap<number, AdvertiserBalance>,
): void {
  // The usual case, and there are fewer ads than clicks.
  if ([...ads.values()].every(({ advertiserId }) => advertisers.has(advertiserId))) return;
  for (const { click } of clicks) {
    const hasAdvertiser = ads.get(click.adId)?.advertiserId === click.advertiserId;
    if (hasAdvertiser && !advertisers.has(click.advertiserId)) {
      const message = `Advertiser ${click.advertiserId} appeared during the transaction`;
      throw new TollwayError(LOST_RACE, message, { retryable: true });
    }
  }
}

function balancesOf(
  ads: ReadonlyMap<number, KnownAd>,
  advertisers: ReadonlyMap<number, AdvertiserBalance>,
  prior: PriorOutcomes,
  days: ReadonlyMap<number, readonly CampaignDay[]>,
): Balances {
  const caps = new Map<number, bigint>();
  for (const { campaignId, capRemainingMicros } of ads.values()) {
    if (capRemainingMicros !== null) caps.set(campaignId, capRemainingMicros);
  }
  const budgets = new Map([...advertisers].map(([id, { remainingMicros }]) => [id, remainingMicros]));
  return { budgets, caps, days, spentNonces: prior.spentNonces };
}
