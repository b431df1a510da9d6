import fc from 'fast-check';
import { expect, it } from 'vitest';
import { formatAmount } from '../../common/money.ts';
import { type Ad, addAd, updateAd } from '../../ledger/accounts/ads.ts';
import { addAdvertiser, setLowBudget } from '../../ledger/accounts/advertisers.ts';
import { addBudgetEntry, creditClick } from '../../ledger/accounts/budget-entries.ts';
import { addCampaign, updateCampaign } from '../../ledger/accounts/campaigns.ts';
import { chargeBatchTwice, expectBalanced } from '../support/charge-batch.ts';
import { testDatabase } from '../support/database.ts';
import { clickRecord } from '../support/records.ts';
import { takeEvents } from '../support/webhook-events.ts';

const database = testDatabase();

/** A time zone in which it is about noon, so that no day begins during the test. */
function noonZone(): string {
  const east = 12 - new Date().getUTCHours();
  return east === 0 ? 'UTC' : `Etc/GMT${east > 0 ? '-' : '+'}${Math.abs(east)}`;
}

type Flag = { isReached: boolean };
type ModelAd = { readonly campaign: number; price: bigint; isActive: boolean; ad: Ad };
type ModelCampaign = {
  readonly id: number;
  isActive: boolean;
  hasEnded: boolean;
  cap: bigint | null;
  dailyCap: bigint | null;
  spent: bigint;
  readonly total: Flag;
  readonly daily: Flag;
};

/** The rules of docs/webhooks.md, computed anew after every step from all that there is. Amounts in micros. */
class Model {
  remaining = 0n;
  level = 0n;
  percents = [20n, 5n];
  passed = new Set<bigint>();
  isExhausted = false;
  readonly campaigns: ModelCampaign[] = [];
  readonly ads: ModelAd[] = [];
  readonly creditable: { clickId: string; price: bigint }[] = [];
  events: string[] = [];

  enter(amount: bigint): void {
    this.remaining += amount;
    this.setLevel(this.remaining);
  }

  /** Thresholds that what remains has reached already are no events. */
  setLevel(level: bigint): void {
    this.level = level;
    this.passed = new Set(this.percents.filter((percent) => this.threshold(percent) >= this.remaining));
  }

  charge(at: number, count: number): string[] {
    const ad = this.ads[at] as ModelAd;
    const campaign = this.campaigns[ad.campaign] as ModelCampaign;
    const outcomes: string[] = [];
    for (let click = 0; click < count; click += 1) {
      const over = (limit: bigint | null) => limit !== null && ad.price > limit - campaign.spent;
      const fits = ad.price <= this.remaining && !over(campaign.cap) && !over(campaign.dailyCap);
      outcomes.push(fits ? 'charged' : 'not charged');
      if (!fits) continue;
      this.remaining -= ad.price;
      campaign.spent += ad.price;
    }
    const reached = this.percents.filter(
      (percent) => this.threshold(percent) >= this.remaining && !this.passed.has(percent),
    );
    for (const percent of reached) this.passed.add(percent);
    const lowest = reached.at(-1);
    if (lowest !== undefined && outcomes.includes('charged'))
      this.events.push(`budget.low ${lowest} ${formatAmount(this.remaining)}`);
    return outcomes;
  }

  private threshold(percent: bigint): bigint {
    return (this.level * percent) / 100n;
  }

  togglePeriod(at: number): void {
    const campaign = this.campaigns[at] as ModelCampaign;
    campaign.hasEnded = !campaign.hasEnded;
    this.events.push(campaign.hasEnded ? 'campaign.ended' : 'campaign.started');
  }

  /** Compares every budget and cap with the prices of the active ads. Returns the events of the step. */
  finish(): string[] {
    for (const kind of ['total', 'daily'] as const) {
      for (const [at, campaign] of this.campaigns.entries()) {
        const limit = kind === 'total' ? campaign.cap : campaign.dailyCap;
        this.compare(
          campaign[kind],
          this.lowestPrice((ad) => ad.campaign === at),
          limit,
          campaign.spent,
          () => this.events.push(`campaign.cap_reached ${kind} ${campaign.id}`),
        );
      }
    }
    const price = this.lowestPrice(({ campaign: at }) => {
      const campaign = this.campaigns[at] as ModelCampaign;
      return campaign.isActive && !campaign.hasEnded;
    });
    if (price !== null && price > this.remaining !== this.isExhausted) {
      this.isExhausted = !this.isExhausted;
      const type = this.isExhausted ? 'exhausted' : 'available';
      this.events.push(`budget.${type} ${formatAmount(price)} ${formatAmount(this.remaining)}`);
    }
    const events = this.events;
    this.events = [];
    return events;
  }

  private compare(
    flag: Flag,
    price: bigint | null,
    limit: bigint | null,
    spent: bigint,
    onReached: () => void,
  ): void {
    const before = flag.isReached;
    if (limit === null) flag.isReached = false;
    else if (price !== null) flag.isReached = spent > 0n && price > limit - spent;
    if (flag.isReached && !before) onReached();
  }

  private lowestPrice(counts: (ad: ModelAd) => boolean): bigint | null {
    const prices = this.ads.filter((ad) => ad.isActive && counts(ad)).map(({ price }) => price);
    return prices.length === 0 ? null : prices.reduce((a, b) => (a < b ? a : b));
  }
}

const ad = fc.nat(3);
const campaign = fc.nat(1);
const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ do: fc.constant('click' as const), ad, count: fc.integer({ min: 1, max: 9 }) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('price' as const), ad, price: fc.integer({ min: 1, max: 60 }) }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('ad status' as const), ad }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('campaign status' as const), campaign }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('period' as const), campaign }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constantFrom('cap' as const, 'dailyCap' as const),
      campaign,
      above: fc.option(fc.integer({ min: 1, max: 90 })),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('entry' as const), amount: fc.integer({ min: -90, max: 190 }) }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('credit' as const) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('percents' as const),
      percents: fc.uniqueArray(fc.integer({ min: 1, max: 99 }), { maxLength: 3 }),
    }),
  },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

/** Takes one step in the database and in the model. */
async function take(model: Model, advertiserId: number, one: Step): Promise<void> {
  const { pool } = database;
  if (one.do === 'click') {
    const { ad: clicked } = model.ads[one.ad] as ModelAd;
    const clicks = Array.from({ length: one.count }, () => clickRecord({ ad: clicked }));
    const outcomes = await chargeBatchTwice(pool, clicks);
    const expected = model.charge(one.ad, one.count).filter((outcome) => outcome === 'charged');
    expect(outcomes.filter((outcome) => outcome === 'charged')).toEqual(expected);
    for (const [at, { click }] of clicks.entries())
      if (outcomes[at] === 'charged')
        model.creditable.push({ clickId: click.clickId, price: clicked.priceMicros });
  } else if (one.do === 'price' || one.do === 'ad status') {
    const entry = model.ads[one.ad] as ModelAd;
    if (one.do === 'price') entry.price = BigInt(one.price);
    else entry.isActive = !entry.isActive;
    const status = entry.isActive ? 'active' : 'paused';
    entry.ad = await updateAd(pool, entry.ad.id, { priceMicros: entry.price, status });
  } else if (one.do === 'entry') {
    const amount = BigInt(one.amount) < -model.remaining ? -model.remaining : BigInt(one.amount);
    if (amount === 0n) return;
    await addBudgetEntry(pool, advertiserId, amount > 0n ? 'top_up' : 'adjustment', amount);
    model.enter(amount);
  } else if (one.do === 'credit') {
    const credited = model.creditable.pop();
    if (credited === undefined) return;
    await creditClick(pool, credited.clickId);
    model.remaining += credited.price;
  } else if (one.do === 'percents') {
    model.percents = one.percents.map(BigInt).sort((a, b) => (a < b ? 1 : -1));
    await setLowBudget(pool, advertiserId, one.percents);
    model.setLevel(model.level);
  } else await changeCampaign(model, one);
}

async function changeCampaign(
  model: Model,
  one: Extract<Step, { do: 'campaign status' | 'period' | 'cap' | 'dailyCap' }>,
): Promise<void> {
  const { pool } = database;
  const changed = model.campaigns[one.campaign] as ModelCampaign;
  if (one.do === 'campaign status') {
    changed.isActive = !changed.isActive;
    await updateCampaign(pool, changed.id, { status: changed.isActive ? 'active' : 'paused' });
  } else if (one.do === 'period') {
    model.togglePeriod(one.campaign);
    await updateCampaign(pool, changed.id, {
      endsAt: changed.hasEnded ? new Date(Date.now() - 60_000) : null,
    });
  } else {
    const limit = one.above === null ? null : changed.spent + BigInt(one.above);
    changed[one.do] = limit;
    await updateCampaign(pool, changed.id, { [one.do === 'cap' ? 'capMicros' : 'dailyCapMicros']: limit });
  }
}

async function storedEvents(advertiserId: number): Promise<string[]> {
  return (await takeEvents(database.pool, advertiserId)).map(({ type, data }) => {
    if (type === 'budget.low') return `${type} ${data.percent} ${data.remaining}`;
    if (type === 'campaign.cap_reached') return `${type} ${data.cap} ${data.campaignId}`;
    if (type === 'budget.exhausted' || type === 'budget.available')
      return `${type} ${data.lowestPrice} ${data.remaining}`;
    return type;
  });
}

/** Steps that reach every rule; drawn ones can leave one out. */
const EVERY_RULE: Step[] = [
  { do: 'click', ad: 1, count: 9 },
  { do: 'click', ad: 0, count: 9 },
  { do: 'entry', amount: 100 },
  { do: 'cap', campaign: 1, above: 10 },
  { do: 'click', ad: 2, count: 1 },
  { do: 'period', campaign: 0 },
];

it('The events of any changes are those of the rules, in order, and each exactly once', async () => {
  const seen = new Map<string, number>();
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 8, maxLength: 25 }), async (steps) => {
      const model = new Model();
      const { id } = await addAdvertiser(database.pool, 'property', 'USD', noonZone());
      await addBudgetEntry(database.pool, id, 'top_up', 200n);
      model.enter(200n);
      for (const at of [0, 1]) {
        const made = await addCampaign(database.pool, id, `campaign ${at}`);
        const flags = { total: { isReached: false }, daily: { isReached: false } };
        const terms = { isActive: true, hasEnded: false, cap: null, dailyCap: null, spent: 0n };
        model.campaigns.push({ id: made.id, ...terms, ...flags });
        for (const price of [7n, 30n]) {
          const added = await addAd(database.pool, made.id, price, 'https://a.example/');
          model.ads.push({ campaign: at, price, isActive: true, ad: added });
        }
      }
      expect([await storedEvents(id), model.finish()]).toEqual([[], []]);
      for (const one of steps) {
        await take(model, id, one);
        const events = model.finish();
        for (const event of events) {
          const type = event.split(' ', 1)[0] ?? '';
          seen.set(type, (seen.get(type) ?? 0) + 1);
        }
        expect(await storedEvents(id), JSON.stringify(one)).toEqual(events);
      }
    }),
    { numRuns: 12, examples: [[EVERY_RULE]] },
  );
  await expectBalanced(database.pool);
  // The steps reached every rule.
  const types = [
    'budget.low',
    'budget.exhausted',
    'budget.available',
    'campaign.cap_reached',
    'campaign.ended',
  ];
  expect([...seen.keys()]).toEqual(expect.arrayContaining(types));
}, 120_000);
