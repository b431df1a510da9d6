import { type Connection, inTransaction, type Pool } from '../../common/postgres/postgres.ts';
import { BEGIN_SNAPSHOT } from '../ledger-window.ts';
import { explainOutcome } from './click-explanations.ts';
import { type ClickRows, findClickOfNonce, readClickRows } from './click-rows.ts';
import type { Evidence } from './evidence.ts';
import { explainMissingClick, explainUnspentNonce } from './missing-click.ts';
import { findVisibleClick, withoutPosition } from './visible-click.ts';

/** One event in the life of a click. */
export type ClickHistoryEvent = {
  readonly at: Date;
  /** Begins with `accepted`, `published`, `rejected`, `settled`, `redriven`, `duplicate`, `credited` or `discarded`. */
  readonly event: string;
};

/** What happened to one click. `null` where it is not known. Amounts in micros of `currency`. */
export type ClickStory = {
  readonly clickId: string | null;
  /** `in_flight`: it may still be under way. */
  readonly state: 'settled' | 'in_flight' | 'unknown';
  /** `charged`, `over_budget`, `invalid` or `rejected`. */
  readonly outcome: string | null;
  readonly reason: string | null;
  /** Why it was or was not charged, or what is known of a click that is not settled. */
  readonly explanation: string;
  readonly clickedAt: Date | null;
  /** When its record was published to the broker. It is kept with the evidence; not every broker tells it. */
  readonly publishedAt: Date | null;
  readonly settledAt: Date | null;
  /** How often a copy of it arrived after it was settled, in `EVIDENCE_RETENTION_DAYS`. `null` for a click without a spool id. */
  readonly duplicates: number | null;
  /** The price that the ad server knew. The ledger does not keep it for clicks that were not charged. */
  readonly priceMicros: bigint | null;
  readonly chargedMicros: bigint | null;
  readonly creditedMicros: bigint | null;
  readonly currency: string | null;
  readonly adId: number | null;
  readonly adName: string | null;
  readonly campaignId: number | null;
  readonly campaignName: string | null;
  readonly advertiserId: number | null;
  readonly advertiserName: string | null;
  readonly publisher: string | null;
  readonly nonce: string | null;
  readonly spoolId: string | null;
  readonly sequence: bigint | null;
  /** `null` also if it is not kept any more. */
  readonly evidence: Evidence | null;
  /** Oldest first. */
  readonly history: readonly ClickHistoryEvent[];
};

/** Which click to find: by its id or the nonce of its link, or by a link, which is of one ad. */
export type ClickReference =
  | { readonly is: 'id'; readonly id: string }
  | {
      readonly is: 'link';
      readonly nonce: string;
      readonly adId: number;
      readonly publisher: string | null;
    };

/**
 * Tells what happened to a click, in one snapshot. A UUID is looked up as a click id, then as the nonce of an impression link, which leads
 * to the click that has spent it. `clickAgeMaxDays`: older clicks are rejected when they arrive, so they are not under way. Clicks of other
 * advertisers than `advertiserIds` are told as clicks that do not exist, and the others without their positions in spools; `null`: no restriction.
 */
export function readClickStory(
  pool: Pool,
  reference: ClickReference,
  clickAgeMaxDays: number,
  advertiserIds: readonly number[] | null = null,
): Promise<ClickStory> {
  return inTransaction(
    pool,
    async (connection) => {
      if (advertiserIds !== null) return readVisibleStory(connection, reference, advertiserIds);
      const rows = await findRows(connection, reference);
      if (rows !== null) return withNames(connection, storyOf(rows), null);
      const missing =
        reference.is === 'id'
          ? await explainMissingClick(connection, reference.id, clickAgeMaxDays)
          : await explainUnspentNonce(connection, reference.nonce);
      return { ...NOTHING, ...knownOf(reference), ...missing };
    },
    BEGIN_SNAPSHOT,
  );
}

/** The story of a click of these advertisers. Any other click is `unknown`, without an explanation. */
async function readVisibleStory(
  connection: Connection,
  reference: ClickReference,
  advertiserIds: readonly number[],
): Promise<ClickStory> {
  const isNonce = reference.is === 'link';
  const id = isNonce ? reference.nonce : reference.id;
  const clickId = await findVisibleClick(connection, id, isNonce, advertiserIds);
  const rows = clickId === null ? null : await readClickRows(connection, clickId);
  if (rows !== null) return withNames(connection, storyOf(withoutPosition(rows)), advertiserIds);
  return { ...NOTHING, ...knownOf(reference), state: 'unknown', explanation: '' };
}

/** What a reference says about its click. */
function knownOf(reference: ClickReference): Partial<ClickStory> {
  if (reference.is === 'id') return { clickId: reference.id };
  const { is: _, ...known } = reference;
  return known;
}

async function findRows(connection: Connection, reference: ClickReference): Promise<ClickRows | null> {
  const found = reference.is === 'id' ? await readClickRows(connection, reference.id) : null;
  if (found !== null) return found;
  const nonce = reference.is === 'id' ? reference.id : reference.nonce;
  const clickId = await findClickOfNonce(connection, nonce);
  return clickId === null ? null : readClickRows(connection, clickId);
}

/** The latest duplicates are events of the history, at most this many. */
const DUPLICATES_SHOWN_MAX = 20;

type NamelessStory = Omit<ClickStory, 'currency' | 'adName' | 'campaignName' | 'advertiserName'>;

const NOTHING: Omit<ClickStory, 'state' | 'explanation'> = {
  clickId: null,
  outcome: null,
  reason: null,
  clickedAt: null,
  publishedAt: null,
  settledAt: null,
  duplicates: null,
  priceMicros: null,
  chargedMicros: null,
  creditedMicros: null,
  currency: null,
  adId: null,
  adName: null,
  campaignId: null,
  campaignName: null,
  advertiserId: null,
  advertiserName: null,
  publisher: null,
  nonce: null,
  spoolId: null,
  sequence: null,
  evidence: null,
  history: [],
};

/** What is told of a click alike, whether the ledger has its row or not. */
type SharedStory = Pick<
  NamelessStory,
  'clickId' | 'state' | 'creditedMicros' | 'evidence' | 'publishedAt' | 'duplicates' | 'history'
>;

function evidenceOf({ evidence: stored }: ClickRows): Pick<ClickStory, 'evidence' | 'publishedAt'> {
  if (stored === null) return { evidence: null, publishedAt: null };
  const { publishedAt, ...evidence } = stored;
  return { evidence, publishedAt };
}

/** A row of the ledger tells the outcome; a click can have dead letters beside it, of copies with another key. */
function storyOf(rows: ClickRows): NamelessStory {
  const { clickId, ledger, letters, credits, duplicates } = rows;
  const letter = letters.at(-1);
  const creditedMicros = credits.reduce((sum, { micros }) => sum + micros, 0n);
  const shared: SharedStory = {
    ...{ clickId, state: 'settled', creditedMicros, ...evidenceOf(rows), history: historyOf(rows) },
    duplicates: duplicates?.length ?? null,
  };
  if (ledger !== null) {
    const priceMicros = ledger.outcome === 'charged' ? ledger.chargedMicros : (letter?.priceMicros ?? null);
    return { ...shared, ...ledger, priceMicros, explanation: explain(ledger, creditedMicros) };
  }
  if (letter !== undefined) {
    const { id: _, detail, discardedAt: __, ...ids } = letter;
    const explanation = `${explainOutcome('rejected', letter.reason)} ${detail}.`;
    return { ...shared, ...ids, outcome: 'rejected', chargedMicros: 0n, explanation };
  }
  return droppedStory(rows, shared);
}

function explain(
  { outcome, reason }: { outcome: string; reason: string | null },
  creditedMicros: bigint,
): string {
  const credited = creditedMicros > 0n ? ' A credit gave the charge back later.' : '';
  return `${explainOutcome(outcome, reason)}${credited}`;
}

/** The ledger has dropped the day of the click. A credit or a redrive still tells its outcome; a credit also its price. */
function droppedStory({ credits, redrives }: ClickRows, shared: SharedStory): NamelessStory {
  const [credit] = credits;
  const redrive = redrives.at(-1);
  const charged = credit?.micros ?? null;
  const source = credit ? 'its credit' : 'its redrive';
  return {
    ...NOTHING,
    ...shared,
    outcome: credit ? 'charged' : (redrive?.outcome ?? null),
    explanation: `The ledger has dropped the day of this click; ${source} is kept.`,
    priceMicros: charged,
    chargedMicros: charged,
    advertiserId: credit?.advertiserId ?? null,
  };
}

/** The order of events with the same time. */
const EVENT_ORDER = [
  ...['accepted', 'published', 'rejected', 'settled', 'redriven', 'duplicate', 'credited', 'discarded'],
];

/** What happened to a click, oldest first. The page reads the events as they are written here. */
export function historyOf({
  ledger,
  letters,
  redrives,
  credits,
  evidence,
  duplicates,
}: ClickRows): ClickHistoryEvent[] {
  const first = ledger ?? letters[0];
  const events = [
    ...(first?.clickedAt ? [{ at: first.clickedAt, event: `accepted${positionText(first)}` }] : []),
    ...(evidence?.publishedAt ? [{ at: evidence.publishedAt, event: 'published' }] : []),
    ...(duplicates ?? []).slice(-DUPLICATES_SHOWN_MAX).map((at) => ({ at, event: 'duplicate' })),
    ...letters.map(({ id, reason, settledAt }) => ({
      at: settledAt,
      event: `rejected: ${reason} (dead letter ${id})`,
    })),
    ...redrives.flatMap(({ letterId, reason, outcome, rejectedAt, redrivenAt }) => [
      { at: rejectedAt, event: `rejected: ${reason} (dead letter ${letterId})` },
      { at: redrivenAt, event: `redriven: ${outcome} (dead letter ${letterId})` },
    ]),
    ...(ledger ? [{ at: ledger.settledAt, event: `settled: ${verdictText(ledger)}` }] : []),
    ...credits.map(({ at }) => ({ at, event: 'credited' })),
    ...letters.flatMap(({ id, discardedAt }) =>
      discardedAt ? [{ at: discardedAt, event: `discarded (dead letter ${id})` }] : [],
    ),
  ];
  return events.sort((a, b) => a.at.getTime() - b.at.getTime() || orderOf(a) - orderOf(b));
}

function orderOf({ event }: ClickHistoryEvent): number {
  return EVENT_ORDER.indexOf(/^\w+/.exec(event)?.[0] ?? '');
}

function positionText({ spoolId, sequence }: { spoolId: string | null; sequence: bigint | null }): string {
  return spoolId === null ? '' : `: spool ${spoolId}, sequence ${sequence}`;
}

function verdictText({ outcome, reason }: { outcome: string; reason: string | null }): string {
  return reason === null ? outcome : `${outcome} (${reason})`;
}

/** Adds names, only of what belongs to `advertiserIds` unless that is `null`: the ids of a rejected click are those that its record claims. */
async function withNames(
  connection: Connection,
  story: NamelessStory,
  advertiserIds: readonly number[] | null,
): Promise<ClickStory> {
  const { rows } = await connection.query<
    Pick<ClickStory, 'currency' | 'adName' | 'campaignName' | 'advertiserName'>
  >(
    `select (select currency from advertiser where id = $1), (select name from advertiser where id = $1) as "advertiserName",
       (select name from campaign where id = $2 and ($4::integer[] is null or advertiser_id = any($4))) as "campaignName",
       (select name from ad where id = $3 and ($4::integer[] is null or advertiser_id = any($4))) as "adName"`,
    [story.advertiserId, story.campaignId, story.adId, advertiserIds],
  );
  return { ...NOTHING, ...story, ...rows[0] };
}
