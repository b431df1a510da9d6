import { TollwayError } from '../common/errors.ts';
import { formatAmount } from '../common/money.ts';
import { type Connection, inTransaction, type Pool } from '../common/postgres/postgres.ts';
import { parseName, parseReference } from '../common/text.ts';
import { uuidV7 } from '../common/uuid.ts';
import { notifyAdsChanged, updateBudgetFlags } from './budget-flag.ts';
import { BEGIN_CHARGE, lockAdvertisers } from './store.ts';

export type Status = 'active' | 'paused';

export type Advertiser = {
  readonly id: number;
  readonly name: string;
  readonly currency: string;
  readonly status: Status;
  readonly budgetMicros: bigint;
  readonly spentMicros: bigint;
  readonly remainingMicros: bigint;
};

export type Campaign = {
  readonly id: number;
  readonly advertiserId: number;
  readonly name: string;
  readonly capMicros: bigint | null;
  readonly spentMicros: bigint;
  readonly fallbackUrl: string | null;
};

export type Ad = {
  readonly id: number;
  readonly advertiserId: number;
  readonly campaignId: number;
  readonly priceMicros: bigint;
  readonly urlTemplate: string;
  readonly status: Status;
};

const ADVERTISER = `id, name, currency, status, budget_micros as "budgetMicros", spent_micros as "spentMicros",
  remaining_micros as "remainingMicros"`;
const CAMPAIGN = `id, advertiser_id as "advertiserId", name, cap_micros as "capMicros", spent_micros as "spentMicros",
  fallback_url as "fallbackUrl"`;
const AD = `id, advertiser_id as "advertiserId", campaign_id as "campaignId", price_micros as "priceMicros",
  url_template as "urlTemplate", status`;

/** Makes an advertiser with an empty budget. Throws `bad_name`. */
export async function addAdvertiser(pool: Pool, name: string, currency: string): Promise<Advertiser> {
  const { rows } = await pool.query<Advertiser>(
    `insert into advertiser (name, currency) values ($1, $2) returning ${ADVERTISER}`,
    [parseName(name), currency],
  );
  return only(rows);
}

export async function listAdvertisers(pool: Pool): Promise<Advertiser[]> {
  const { rows } = await pool.query<Advertiser>(`select ${ADVERTISER} from advertiser order by id`);
  return rows;
}

/** Pauses or resumes all ads of an advertiser. Throws `unknown_advertiser`. */
export function setAdvertiserStatus(pool: Pool, id: number, status: Status): Promise<Advertiser> {
  return underLock(pool, id, async (connection) => {
    const { rows } = await connection.query<Advertiser>(
      `update advertiser set status = $2 where id = $1 returning ${ADVERTISER}`,
      [id, status],
    );
    await notifyAdsChanged(connection, id);
    return only(rows);
  });
}

export type BudgetEntryKind = 'top_up' | 'adjustment';

/** One change of an advertiser's budget. */
export type BudgetEntry = {
  readonly id: bigint;
  readonly kind: BudgetEntryKind | 'credit';
  readonly amountMicros: bigint;
  readonly reference: string;
  /** The click whose charge a credit gives back; `null` for the other kinds. */
  readonly clickId: string | null;
  readonly createdAt: Date;
};

/** The changes of an advertiser's budget, in the order in which they were entered. Throws `unknown_advertiser`. */
export async function listBudgetEntries(pool: Pool, advertiserId: number): Promise<BudgetEntry[]> {
  const { rows } = await pool.query<BudgetEntry>(
    `select id, kind, amount_micros as "amountMicros", reference, click_id as "clickId", created_at as "createdAt"
     from budget_entry where advertiser_id = $1 order by id`,
    [advertiserId],
  );
  if (rows.length === 0) {
    const { rowCount } = await pool.query('select from advertiser where id = $1', [advertiserId]);
    if (rowCount === 0) throw unknownAdvertiser(advertiserId);
  }
  return rows;
}

function unknownAdvertiser(id: number): TollwayError {
  return new TollwayError('unknown_advertiser', `There is no advertiser ${id}`);
}

/**
 * Enters an amount into an advertiser's budget, once for each reference: with one that has entered before it
 * changes nothing (`entered` is false), so a retry after a lost reply is safe. A negative amount has to be covered by
 * what remains. Throws `bad_reference`, `unknown_advertiser`, `reference_taken` (by another amount), `not_enough_budget`.
 */
export function enterBudget(
  pool: Pool,
  id: number,
  kind: BudgetEntryKind,
  amountMicros: bigint,
  reference: string = uuidV7(),
): Promise<{ advertiser: Advertiser; entered: boolean; reference: string }> {
  const entry = { kind, amountMicros, reference: parseReference(reference), clickId: null };
  return underLock(pool, id, (connection) => enterBudgetLocked(connection, id, entry));
}

async function enterBudgetLocked(
  connection: Connection,
  id: number,
  { kind, amountMicros, reference, clickId }: Omit<BudgetEntry, 'id' | 'createdAt'>,
): Promise<{ advertiser: Advertiser; entered: boolean; reference: string }> {
  if (amountMicros === 0n) throw new TollwayError('bad_amount', 'Expected an amount other than 0, got 0.00');
  const { rows: before } = await connection.query<{ kind: string; amount_micros: bigint }>(
    'select kind, amount_micros from budget_entry where advertiser_id = $1 and reference = $2',
    [id, reference],
  );
  const [known] = before;
  if (known && (known.amount_micros !== amountMicros || known.kind !== kind)) {
    throw new TollwayError(
      'reference_taken',
      `Reference "${reference}" was already used for a ${known.kind} of ${formatAmount(known.amount_micros)}`,
    );
  }
  if (known) {
    const { rows } = await connection.query<Advertiser>(
      `select ${ADVERTISER} from advertiser where id = $1`,
      [id],
    );
    return { advertiser: only(rows), entered: false, reference };
  }
  if (amountMicros < 0n) await assertCovered(connection, id, -amountMicros);
  await connection.query(
    'insert into budget_entry (advertiser_id, kind, amount_micros, reference, click_id) values ($1, $2, $3, $4, $5)',
    [id, kind, amountMicros, reference, clickId],
  );
  const { rows } = await connection.query<Advertiser>(
    `update advertiser set budget_micros = budget_micros + $2 where id = $1 returning ${ADVERTISER}`,
    [id, amountMicros],
  );
  await updateBudgetFlags(connection, [id]);
  return { advertiser: only(rows), entered: true, reference };
}

/** Throws `not_enough_budget` if less than `micros` remains. The caller holds the advertiser's lock, so this cannot change before it commits. */
async function assertCovered(connection: Connection, id: number, micros: bigint): Promise<void> {
  const { rows } = await connection.query<{ remaining: bigint }>(
    'select remaining_micros as remaining from advertiser where id = $1',
    [id],
  );
  const { remaining } = only(rows);
  if (remaining >= micros) return;
  const message = `Expected to take at most ${formatAmount(remaining)}, what remains of the budget of advertiser ${id}; got ${formatAmount(micros)}`;
  throw new TollwayError('not_enough_budget', message);
}

/**
 * Gives back what a click was charged, once. The click keeps its row: the credit is an entry of the budget.
 * Throws `unknown_click`, `not_charged`.
 */
export async function creditClick(
  pool: Pool,
  clickId: string,
): Promise<{ advertiser: Advertiser; entered: boolean; amountMicros: bigint }> {
  const { rows } = await pool.query<{
    advertiser_id: number;
    charged_micros: bigint;
    outcome: string;
    reason: string | null;
  }>('select advertiser_id, charged_micros, outcome, reason from ledger where click_id = $1', [clickId]);
  const [click] = rows;
  if (!click) throw new TollwayError('unknown_click', `The ledger has no click ${clickId}`);
  if (click.outcome !== 'charged') {
    const came = click.reason ? `${click.outcome}: ${click.reason}` : click.outcome;
    throw new TollwayError('not_charged', `Click ${clickId} was not charged: it is ${came}`);
  }
  const amountMicros = click.charged_micros;
  const entry = { kind: 'credit', amountMicros, reference: `credit ${clickId}`, clickId } as const;
  const { advertiser, entered } = await underLock(pool, click.advertiser_id, (connection) =>
    enterBudgetLocked(connection, click.advertiser_id, entry),
  );
  return { advertiser, entered, amountMicros };
}

/** Makes a campaign, with a total cap or `null`, and a fallback URL or `null`. Throws `bad_name`, `unknown_advertiser`. */
export function addCampaign(
  pool: Pool,
  advertiserId: number,
  name: string,
  capMicros: bigint | null,
  fallbackUrl: string | null,
): Promise<Campaign> {
  return underLock(pool, advertiserId, async (connection) => {
    const { rows } = await connection.query<Campaign>(
      `insert into campaign (advertiser_id, name, cap_micros, fallback_url) values ($1, $2, $3, $4) returning ${CAMPAIGN}`,
      [advertiserId, parseName(name), capMicros, fallbackUrl],
    );
    return only(rows);
  });
}

export async function listCampaigns(pool: Pool): Promise<Campaign[]> {
  const { rows } = await pool.query<Campaign>(`select ${CAMPAIGN} from campaign order by id`);
  return rows;
}

/** Makes an ad of a campaign. Throws `unknown_campaign`. */
export async function addAd(
  pool: Pool,
  campaignId: number,
  priceMicros: bigint,
  urlTemplate: string,
): Promise<Ad> {
  const { rows: campaigns } = await pool.query<{ advertiser_id: number }>(
    'select advertiser_id from campaign where id = $1',
    [campaignId],
  );
  const [campaign] = campaigns;
  if (!campaign) throw new TollwayError('unknown_campaign', `There is no campaign ${campaignId}`);
  const advertiserId = campaign.advertiser_id;
  return underLock(pool, advertiserId, async (connection) => {
    const { rows } = await connection.query<Ad>(
      `insert into ad (campaign_id, advertiser_id, price_micros, url_template) values ($1, $2, $3, $4) returning ${AD}`,
      [campaignId, advertiserId, priceMicros, urlTemplate],
    );
    await priceChanged(connection, advertiserId, priceMicros);
    return only(rows);
  });
}

export async function listAds(pool: Pool): Promise<Ad[]> {
  const { rows } = await pool.query<Ad>(`select ${AD} from ad order by id`);
  return rows;
}

export type AdChanges = {
  readonly priceMicros?: bigint;
  readonly urlTemplate?: string;
  readonly status?: Status;
};

/** Changes an ad's price, template or status. Throws `unknown_ad`. */
export async function updateAd(pool: Pool, id: number, changes: AdChanges): Promise<Ad> {
  const { rows: ads } = await pool.query<{ advertiser_id: number }>(
    'select advertiser_id from ad where id = $1',
    [id],
  );
  const [ad] = ads;
  if (!ad) throw new TollwayError('unknown_ad', `There is no ad ${id}`);
  return underLock(pool, ad.advertiser_id, async (connection) => {
    const { rows } = await connection.query<Ad>(
      `update ad set price_micros = coalesce($2, price_micros), url_template = coalesce($3, url_template),
         status = coalesce($4, status)
       where id = $1 returning ${AD}`,
      [id, changes.priceMicros ?? null, changes.urlTemplate ?? null, changes.status ?? null],
    );
    await priceChanged(connection, ad.advertiser_id, only(rows).priceMicros);
    return only(rows);
  });
}

async function priceChanged(
  connection: Connection,
  advertiserId: number,
  priceMicros: bigint,
): Promise<void> {
  await connection.query(
    'update advertiser set max_price_micros = greatest(max_price_micros, $2) where id = $1',
    [advertiserId, priceMicros],
  );
  await updateBudgetFlags(connection, [advertiserId]);
  await notifyAdsChanged(connection, advertiserId);
}

/** Runs a change of an advertiser's things in a transaction that holds its lock. Throws `unknown_advertiser`. */
function underLock<T>(
  pool: Pool,
  advertiserId: number,
  change: (connection: Connection) => Promise<T>,
): Promise<T> {
  return inTransaction(
    pool,
    async (connection) => {
      const locked = await lockAdvertisers(connection, [advertiserId]);
      if (!locked.has(advertiserId)) throw unknownAdvertiser(advertiserId);
      return change(connection);
    },
    BEGIN_CHARGE,
  );
}

function only<T>(rows: readonly T[]): T {
  const [row] = rows;
  if (!row) throw new Error('Expected a row');
  return row;
}
