import { afterAll, beforeAll, inject } from 'vitest';
import { parseAmount } from '../../common/money.ts';
import { createClient, createPool, type Pool } from '../../common/postgres/postgres.ts';
import { uuidV7 } from '../../common/uuid.ts';
import { type Ad, addAd } from '../../ledger/accounts/ads.ts';
import { type Advertiser, addAdvertiser } from '../../ledger/accounts/advertisers.ts';
import { addBudgetEntry } from '../../ledger/accounts/budget-entries.ts';
import { addCampaign, type Campaign, updateCampaign } from '../../ledger/accounts/campaigns.ts';

/** Longest wait of a test for a connection, in ms: many suites share two cores. */
const CONNECT_MS_MAX = 30_000;

/** A database of one suite, migrated unless it was created empty. */
export type TestDatabase = {
  readonly url: string;
  readonly pool: Pool;
  /** Errors of idle connections of the pool. */
  readonly connectionErrors: readonly Error[];
};

/**
 * Creates a database for the suite that calls it, at the top of its file or of a `describe`, and drops it afterwards. A test file that
 * imports this module, directly or through others of `test/`, belongs to vitest's project `database`: see `vitest.config.ts`.
 */
export function testDatabase(options: DatabaseOptions = {}): TestDatabase {
  let made: (TestDatabase & { drop: () => Promise<void> }) | undefined;
  beforeAll(async () => {
    made = await createTestDatabase(options);
  });
  afterAll(() => made?.drop());
  const current = () => {
    if (!made)
      throw new Error(
        'Expected the database to be used in tests and hooks only, got a use before the suite began',
      );
    return made;
  };
  return {
    get url() {
      return current().url;
    },
    get pool() {
      return current().pool;
    },
    get connectionErrors() {
      return current().connectionErrors;
    },
  };
}

export type DatabaseOptions = {
  readonly poolSize?: number;
  /** Starts with an empty database instead of a migrated one. */
  readonly empty?: boolean;
};

/** Clones a database now, for a test that must not share one: it damages the ledger or counts all of it. The caller drops it. */
export async function createTestDatabase({
  poolSize = 12,
  empty = false,
}: DatabaseOptions = {}): Promise<TestDatabase & { drop: () => Promise<void> }> {
  const name = `tollway_test_${uuidV7().replaceAll('-', '')}`;
  const template = empty ? 'template0' : inject('templateDatabase');
  await administer(`create database ${name} template ${template} strategy file_copy`);
  const url = new URL(inject('databaseServerUrl'));
  url.pathname = `/${name}`;
  const connectionErrors: Error[] = [];
  const onError = (error: Error) => void connectionErrors.push(error);
  const pool = createPool(url.href, 'test', poolSize, onError, 0, CONNECT_MS_MAX);
  return {
    url: url.href,
    pool,
    connectionErrors,
    drop: async () => {
      await pool.end();
      await administer(`drop database ${name} with (force)`);
    },
  };
}

async function administer(statement: string): Promise<void> {
  const client = createClient(inject('databaseServerUrl'), 'test setup');
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}

export type Account = { readonly advertiser: Advertiser; readonly campaign: Campaign; readonly ad: Ad };

export type AccountTerms = {
  readonly budget?: string;
  readonly price?: string;
  readonly cap?: string;
  readonly dailyCap?: string;
  readonly timeZone?: string;
};

/** Creates an advertiser with a campaign and an ad; amounts are decimal, such as `0.25`. */
export async function addAccount(
  pool: Pool,
  { budget = '100.00', price = '0.25', cap, dailyCap, timeZone = 'UTC' }: AccountTerms = {},
): Promise<Account> {
  const advertiser = await addAdvertiser(pool, 'Test advertiser', 'USD', timeZone);
  if (parseAmount(budget) !== 0n) await addBudgetEntry(pool, advertiser.id, 'top_up', parseAmount(budget));
  const campaign = await addCampaign(pool, advertiser.id, 'Test campaign', {
    capMicros: cap === undefined ? null : parseAmount(cap),
    dailyCapMicros: dailyCap === undefined ? null : parseAmount(dailyCap),
  });
  return { advertiser, campaign, ad: await addAdTo(pool, campaign, price) };
}

/** Sets the daily cap of a campaign, a decimal amount, or removes it. */
export function capDaily(
  pool: Pool,
  { id }: Pick<Campaign, 'id'>,
  dailyCap: string | null,
): Promise<Campaign> {
  return updateCampaign(pool, id, { dailyCapMicros: dailyCap === null ? null : parseAmount(dailyCap) });
}

/** Creates one more ad of a campaign, by default without a name. */
export function addAdTo(
  pool: Pool,
  campaign: Pick<Campaign, 'id'>,
  price = '0.25',
  name: string | null = null,
): Promise<Ad> {
  return addAd(pool, campaign.id, parseAmount(price), 'https://example.com/?click={click_id}', [], name);
}
