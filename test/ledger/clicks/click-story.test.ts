import { beforeEach, describe, expect, it } from 'vitest';
import type { Pool } from '../../../common/postgres/postgres.ts';
import { DAY_MS } from '../../../common/unix-time.ts';
import { uuidV7 } from '../../../common/uuid.ts';
import { EDGE_INVALID_REASONS } from '../../../contract/click-event.ts';
import { updateAd } from '../../../ledger/accounts/ads.ts';
import { creditClick } from '../../../ledger/accounts/budget-entries.ts';
import { discardDeadLetter, REJECT_REASONS } from '../../../ledger/charge/dead-letters.ts';
import { EXPLANATIONS } from '../../../ledger/clicks/click-explanations.ts';
import { type ClickStory, readClickStory } from '../../../ledger/clicks/click-story.ts';
import { dropClosedDays } from '../../../ledger/maintenance.ts';
import { dayStart, isoDay } from '../../../ledger/partitions.ts';
import { redrive } from '../../../processor/charge/redrive.ts';
import { chargeBatch } from '../../support/charge-batch.ts';
import { type Account, addAccount, addAdTo, testDatabase } from '../../support/database.ts';
import { silent } from '../../support/loggers.ts';
import { readPage, rowsOf } from '../../support/markdown.ts';
import { clickRecord, TestSpool } from '../../support/records.ts';

const database = testDatabase();
let account: Account;
beforeEach(async () => {
  account = await addAccount(database.pool, { budget: '1.00', price: '0.25' });
});

const AGE_DAYS = 14;
const storyOf = (id: string, pool: Pool = database.pool) => readClickStory(pool, { is: 'id', id }, AGE_DAYS);
const events = ({ history }: ClickStory) => history.map(({ event }) => event);

describe('the story of a settled click', () => {
  it('tells of a charged click where it was accepted, what it cost and whose it is', async () => {
    const spool = new TestSpool();
    const record = spool.click({ ad: account.ad, nonce: uuidV7(), publisher: 'site-1' });
    await chargeBatch(database.pool, [record]);
    const { click } = record;
    const story = await storyOf(click.clickId);
    expect(story).toMatchObject({
      clickId: click.clickId,
      state: 'settled',
      outcome: 'charged',
      reason: null,
      explanation: expect.stringMatching(/^It was charged: .*\.$/),
      clickedAt: new Date(click.clickedAt),
      priceMicros: 250_000n,
      chargedMicros: 250_000n,
      creditedMicros: 0n,
      currency: 'USD',
      adId: account.ad.id,
      adName: null,
      campaignId: account.campaign.id,
      campaignName: 'Test campaign',
      advertiserId: account.advertiser.id,
      advertiserName: 'Test advertiser',
      publisher: 'site-1',
      nonce: click.nonce,
      spoolId: spool.id,
      sequence: 1n,
      evidence: {
        network: '192.0.2.0/24',
        userAgent: 'Mozilla/5.0 (test)',
        referrerHost: 'publisher.example',
      },
    });
    expect(events(story)).toEqual([`accepted: spool ${spool.id}, sequence 1`, 'settled: charged']);
    await creditClick(database.pool, click.clickId);
    const credited = await storyOf(click.clickId);
    expect(credited).toMatchObject({
      creditedMicros: 250_000n,
      explanation: `${story.explanation} A credit gave the charge back later.`,
    });
    expect(events(credited).at(-1)).toBe('credited');
  });

  it('finds a click by the nonce of its link or by the link, and not one that was invalid', async () => {
    const nonce = uuidV7();
    const bot = clickRecord({ ad: account.ad, nonce, invalid: 'bot' });
    await chargeBatch(database.pool, [bot]);
    const link = { is: 'link', nonce, adId: account.ad.id, publisher: 'site-1' } as const;
    expect(await storyOf(nonce)).toMatchObject({ clickId: nonce, outcome: null });
    expect(await readClickStory(database.pool, link, AGE_DAYS)).toMatchObject({
      state: 'unknown',
      clickId: null,
      nonce,
      adId: account.ad.id,
      publisher: 'site-1',
      explanation:
        'No valid click on this link is settled. An invalid click does not spend the nonce of its link and is found only by its click id.',
    });
    const valid = clickRecord({ ad: account.ad, nonce });
    const repeat = clickRecord({ ad: account.ad, nonce });
    await chargeBatch(database.pool, [valid]);
    await chargeBatch(database.pool, [repeat]);
    for (const story of [await storyOf(nonce), await readClickStory(database.pool, link, AGE_DAYS)])
      expect(story).toMatchObject({ clickId: valid.click.clickId, outcome: 'charged', nonce });
    expect(await storyOf(repeat.click.clickId)).toMatchObject({ outcome: 'invalid', reason: 'repeat' });
  });

  it('names to a restricted reader only what belongs to its advertisers', async () => {
    const [mine, other] = [await addAccount(database.pool), await addAccount(database.pool)];
    await updateAd(database.pool, other.ad.id, { name: 'Secret banner' });
    // The record claims that the ad of another advertiser is one of mine.
    const record = clickRecord({ ad: { ...other.ad, advertiserId: mine.advertiser.id } });
    await chargeBatch(database.pool, [record]);
    const reference = { is: 'id', id: record.click.clickId } as const;
    const story = await readClickStory(database.pool, reference, AGE_DAYS, [mine.advertiser.id]);
    expect(story).toMatchObject({
      ...{ outcome: 'rejected', reason: 'wrong_advertiser', advertiserName: 'Test advertiser' },
      ...{ adId: other.ad.id, adName: null, campaignName: null },
    });
    expect(await storyOf(record.click.clickId)).toMatchObject({
      ...{ adName: 'Secret banner', campaignName: 'Test campaign' },
    });
  });

  it('tells of a rejected click its price and detail, its discard, and its redrive', async () => {
    const unknown = { ...account.ad, id: 4_711 };
    const nonce = uuidV7();
    const [discarded, redriven] = [clickRecord({ ad: unknown, nonce }), clickRecord({ ad: unknown })];
    await chargeBatch(database.pool, [discarded, redriven]);
    const rejected = await storyOf(discarded.click.clickId);
    expect(rejected).toMatchObject({
      outcome: 'rejected',
      reason: 'unknown_ad',
      priceMicros: 250_000n,
      chargedMicros: 0n,
      adId: 4_711,
      explanation: expect.stringMatching(
        /^It was rejected and not charged: the ad was not in the database\. Expected the id of an ad in the database, got 4711 /,
      ),
    });
    expect(
      await readClickStory(database.pool, { is: 'link', nonce, adId: 4_711, publisher: null }, AGE_DAYS),
    ).toEqual(rejected);
    const letterOf = ({ history }: ClickStory) =>
      BigInt(/dead letter (\d+)/.exec(JSON.stringify(history))?.[1] ?? 0);
    const letter = letterOf(rejected);
    await discardDeadLetter(database.pool, letter);
    const gone = await storyOf(discarded.click.clickId);
    expect(gone).toMatchObject({ outcome: 'rejected', priceMicros: null });
    expect(events(gone).slice(1)).toEqual([
      `rejected: unknown_ad (dead letter ${letter})`,
      `discarded (dead letter ${letter})`,
    ]);
    const other = letterOf(await storyOf(redriven.click.clickId));
    await database.pool.query(
      `insert into ad (id, campaign_id, advertiser_id, price_micros, url_template) overriding system value
       values (4711, $1, $2, 250000, 'https://example.com/')`,
      [account.campaign.id, account.advertiser.id],
    );
    await redrive(database.pool, other);
    const story = await storyOf(redriven.click.clickId);
    expect(story).toMatchObject({ outcome: 'charged', chargedMicros: 250_000n });
    expect(events(story).slice(1)).toEqual([
      `rejected: unknown_ad (dead letter ${other})`,
      'settled: charged',
      `redriven: charged (dead letter ${other})`,
    ]);
  });

  it('says why a click was not charged', async () => {
    const dear = await addAdTo(database.pool, account.campaign, '9.00');
    const click = clickRecord({ ad: dear });
    await chargeBatch(database.pool, [click]);
    expect(await storyOf(click.click.clickId)).toMatchObject({
      outcome: 'over_budget',
      reason: 'budget',
      priceMicros: null,
      chargedMicros: 0n,
      explanation:
        'It was not charged: what was left of the budget of the advertiser was less than the price of the click.',
    });
  });
});

describe('the story of a click without a row', () => {
  /** The last clicks of spools without gaps, so that no click is unsettled. */
  const settleSome = () => chargeBatch(database.pool, [clickRecord({ ad: account.ad })]);

  it('may be under way while it is young', async () => {
    await settleSome();
    expect(await storyOf(uuidV7())).toMatchObject({
      state: 'in_flight',
      clickedAt: null,
      explanation: expect.stringContaining('less than a minute old'),
    });
  });

  it('may be under way while no newer click is settled', async () => {
    const empty = uuidV7(Date.now() - 600_000);
    await database.pool.query('truncate ledger');
    expect(await storyOf(empty)).toMatchObject({
      state: 'in_flight',
      explanation:
        'It may still be under way: no newer click is settled, so its ad server may not have published it yet.',
    });
    await settleSome();
    expect(await storyOf(empty)).toMatchObject({
      state: 'unknown',
      explanation: expect.stringContaining('newer clicks are settled'),
    });
  });

  it('may be under way while a spool that existed then has accepted clicks that are not settled', async () => {
    await settleSome();
    const before = Date.now() - 600_000;
    const spool = new TestSpool();
    const [, second] = [spool.click({ ad: account.ad }), spool.click({ ad: account.ad })];
    await chargeBatch(database.pool, [second]);
    // The spool is younger than this click.
    expect((await storyOf(uuidV7(before))).state).toBe('unknown');
    const older = uuidV7(before - 1_000);
    await database.pool.query('update spool_counter set spool_id = $1 where spool_id = $2', [
      older,
      spool.id,
    ]);
    expect(await storyOf(uuidV7(before))).toMatchObject({
      state: 'in_flight',
      explanation:
        'It may still be under way: it can be one of 1 accepted click of 1 spool that is not settled; npx tollway reconcile says whether they wait or are missing.',
    });
    await database.pool.query('delete from spool_counter where spool_id = $1', [older]);
  });

  it.each([
    ['a time in the future', () => Date.now() + 3 * DAY_MS, /^The time in this id, .*, is in the future/],
    ['the last time of an id', () => 2 ** 48 - 1, /^The time in this id, \+010889-.*, is in the future/],
    ['the beginning of time', () => 0, /^The ledger has no clicks of 1970-01-01: it has dropped the day/],
  ])('cannot be under way with %s', async (_, timeMs, explanation) => {
    expect(await storyOf(uuidV7(timeMs()))).toMatchObject({
      state: 'unknown',
      explanation: expect.stringMatching(explanation),
    });
  });

  it('cannot be under way if it is older than CLICK_AGE_MAX_DAYS', async () => {
    expect(
      await readClickStory(database.pool, { is: 'id', id: uuidV7(Date.now() - 5 * DAY_MS) }, 3),
    ).toMatchObject({
      state: 'unknown',
      explanation: expect.stringContaining('older than 3 days (CLICK_AGE_MAX_DAYS)'),
    });
  });

  it('of a link whose day is not kept any more says so', async () => {
    const link = { is: 'link', nonce: uuidV7(Date.parse('2020-01-31')), adId: 1, publisher: null } as const;
    expect(await readClickStory(database.pool, link, AGE_DAYS)).toMatchObject({
      state: 'unknown',
      explanation: expect.stringContaining('The spent nonces of 2020-01-31'),
    });
  });
});

it('A click of a day that the ledger has dropped is told from its credit', async () => {
  const clickedAt = Date.now() - 13 * DAY_MS;
  const [kept, gone] = [
    clickRecord({ ad: account.ad, clickedAt }),
    clickRecord({ ad: account.ad, clickedAt }),
  ];
  await chargeBatch(database.pool, [kept, gone]);
  await creditClick(database.pool, kept.click.clickId);
  await database.pool.query('update ledger_window set click_floor = $1, floor_raised_at = now()', [
    isoDay(dayStart(clickedAt) + DAY_MS),
  ]);
  await dropClosedDays(database.pool, silent, 0);
  expect(await storyOf(gone.click.clickId)).toMatchObject({
    state: 'unknown',
    explanation: expect.stringContaining('it has dropped the day'),
  });
  expect(await storyOf(kept.click.clickId)).toMatchObject({
    state: 'settled',
    outcome: 'charged',
    chargedMicros: 250_000n,
    creditedMicros: 250_000n,
    advertiserName: 'Test advertiser',
    explanation: 'The ledger has dropped the day of this click; its credit is kept.',
  });
});

describe('the explanations', () => {
  it('has one for every reason of the code and of docs/concepts.md', () => {
    const listed = rowsOf(readPage('docs/concepts.md'), 'outcome').flatMap(
      (row) => /^\| `\w+` \| `(\w+)`/.exec(row)?.[1] ?? [],
    );
    expect(listed.length).toBeGreaterThan(15);
    for (const reason of [...listed, ...EDGE_INVALID_REASONS, ...REJECT_REASONS])
      expect(EXPLANATIONS).toHaveProperty(reason);
  });

  it.each(Object.entries(EXPLANATIONS))('%s: completes a sentence', (_, explanation) => {
    expect(explanation).toMatch(/^[a-z].*[^.]$/);
  });
});
