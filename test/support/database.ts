import { pino } from 'pino';
import { afterAll, beforeAll, inject } from 'vitest';
import { parseAmount } from '../../common/money.ts';
import { createClient, createPool, type Pool } from '../../common/postgres/postgres.ts';
import { uuidV7 } from '../../common/uuid.ts';
import {
  type ClickEvent,
  clickKey,
  encodeClick,
  type ReadClick,
  type ReadWatermark,
  readRecord,
  type SpoolPosition,
  type Unreadable,
  watermarkRecord,
} from '../../contract/click-event.ts';
import { type Ad, addAd } from '../../ledger/ads.ts';
import { type Advertiser, addAdvertiser } from '../../ledger/advertisers.ts';
import { addBudgetEntry } from '../../ledger/budget-entries.ts';
import { addCampaign, type Campaign } from '../../ledger/campaigns.ts';

/** A logger for what is tested: nobody reads it. */
export const silent = pino({ level: 'silent' });

/** A migrated database of its own. */
export type TestDatabase = {
  readonly url: string;
  readonly pool: Pool;
  /** Errors of idle connections that the pool has told of. */
  readonly connectionErrors: readonly Error[];
};

/** Gives the suite that calls it (at the top of its file or of a `describe`) a database, and drops it afterwards. */
export function testDatabase(options: DatabaseOptions = {}): TestDatabase {
  let made: (TestDatabase & { drop: () => Promise<void> }) | undefined;
  beforeAll(async () => {
    made = await createTestDatabase(options);
  });
  afterAll(() => made?.drop());
  const surely = () => {
    if (!made) throw new Error('Expected the database to be used inside tests and hooks only');
    return made;
  };
  return {
    get url() {
      return surely().url;
    },
    get pool() {
      return surely().pool;
    },
    get connectionErrors() {
      return surely().connectionErrors;
    },
  };
}

export type DatabaseOptions = {
  readonly poolSize?: number;
  /** Begins with an empty database in place of a migrated one. */
  readonly empty?: boolean;
};

/** Clones a database at once, for a test that must not share one: it does wrong to its books, or counts them all. */
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
  const pool = createPool(url.href, 'test', poolSize, (error) => connectionErrors.push(error));
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

/** Makes an advertiser with a campaign and an ad; amounts as people write them. */
export async function addAccount(
  pool: Pool,
  { budget = '100.00', price = '0.25', cap }: { budget?: string; price?: string; cap?: string } = {},
): Promise<Account> {
  const advertiser = await addAdvertiser(pool, 'Test advertiser', 'USD');
  if (parseAmount(budget) !== 0n) await addBudgetEntry(pool, advertiser.id, 'top_up', parseAmount(budget));
  const capMicros = cap === undefined ? null : parseAmount(cap);
  const campaign = await addCampaign(pool, advertiser.id, 'Test campaign', capMicros, null);
  return { advertiser, campaign, ad: await addAdTo(pool, campaign, price) };
}

/** Makes one more ad of a campaign. */
export function addAdTo(pool: Pool, campaign: Campaign, price = '0.25'): Promise<Ad> {
  return addAd(pool, campaign.id, parseAmount(price), 'https://example.com/?click={click_id}');
}

/** An ad as a click names it. Every `Ad` is one. */
export type NamedAd = {
  readonly id: number;
  readonly campaignId: number;
  readonly advertiserId: number;
  readonly priceMicros: bigint;
};

const SOME_AD: NamedAd = { id: 1, campaignId: 1, advertiserId: 1, priceMicros: 250_000n };

export type ClickOverrides = Partial<Omit<ClickEvent, 'adId' | 'campaignId' | 'advertiserId'>> & {
  readonly ad?: NamedAd;
};

/** A click event: of now, at the ad's price, by an evergreen link, valid, unless told otherwise. */
export function clickEvent({ ad = SOME_AD, ...overrides }: ClickOverrides = {}): ClickEvent {
  const clickedAt = overrides.clickedAt ?? Date.now();
  return {
    clickId: uuidV7(clickedAt),
    nonce: null,
    adId: ad.id,
    campaignId: ad.campaignId,
    advertiserId: ad.advertiserId,
    priceMicros: Number(ad.priceMicros),
    clickedAt,
    invalid: null,
    budgetExhausted: false,
    visitorNetwork: '192.0.2.0/24',
    userAgent: 'Mozilla/5.0 (test)',
    referrerHost: 'publisher.example',
    ...overrides,
  };
}

/** What a click record takes besides its event. Without `from`, it is the first of a spool of its own. */
export type RecordOverrides = ClickOverrides & { readonly from?: SpoolPosition | null };

/** A click as the handler gets it: encoded, put under its key, and read again. */
export function clickRecord({ from, ...overrides }: RecordOverrides = {}): ReadClick {
  const value = Buffer.from(encodeClick(clickEvent(overrides)));
  const record = readRecord({ key: keyOf(from), value }, `test ${uuidV7()}`);
  if (record.is !== 'click') throw new Error(`Expected a click, got ${JSON.stringify(record)}`);
  return record;
}

/** Bytes that are no click, as the handler gets them. With `from: null` it has no key of ours: it is foreign. */
export function unreadableRecord(value: Buffer | null, from?: SpoolPosition | null): Unreadable {
  const record = readRecord({ key: keyOf(from), value }, `test ${uuidV7()}`);
  if (record.is !== 'unreadable') throw new Error(`Expected what is no click, got ${JSON.stringify(record)}`);
  return record;
}

function keyOf(from: SpoolPosition | null | undefined): string | null {
  if (from === null) return null;
  return from === undefined ? clickKey(uuidV7(), 1) : clickKey(from.spoolId, from.sequence);
}

/** A spool that is only its numbers: hands out sequences and says how many it has accepted. */
export class TestSpool {
  readonly id = uuidV7();
  accepted = 0;

  next(): SpoolPosition {
    this.accepted += 1;
    return { spoolId: this.id, sequence: this.accepted };
  }

  /** Accepts and makes one click. */
  click(overrides: ClickOverrides = {}): ReadClick {
    return clickRecord({ ...overrides, from: this.next() });
  }

  watermark(): ReadWatermark {
    const record = readRecord(watermarkRecord(this.id, this.accepted), `test ${uuidV7()}`);
    if (record.is !== 'watermark') throw new Error(`Expected a mark, got ${JSON.stringify(record)}`);
    return record;
  }
}
