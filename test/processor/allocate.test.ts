import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { uuidFloor } from '../../common/uuid.ts';
import type { CampaignDay } from '../../ledger/charge/campaign-days.ts';
import { type AllocatableClick, type Balances, openAllocation } from '../../processor/charge/allocate.ts';

/** Allocates clicks in order of time. */
function allocate(clicks: readonly AllocatableClick[], left: Balances) {
  const allocation = openAllocation(left);
  const inTime = clicks.toSorted((a, b) => (a.clickId < b.clickId ? -1 : 1));
  const verdicts = inTime.map((one) => ({ click: one, verdict: allocation.decide(one) }));
  return {
    verdicts,
    chargedByAdvertiser: allocation.chargedByAdvertiser(),
    chargedByCampaign: allocation.chargedByCampaign(),
    chargedByDay: allocation.chargedByDay(),
  };
}

const ADVERTISERS = 3;
const PLENTY: Balances = {
  budgets: new Map([1, 2, 3].map((id) => [id, 1_000_000n])),
  caps: new Map([1, 2].map((id) => [id, 1_000_000n])),
  days: new Map(),
  spentNonces: new Set(),
};

/** Campaigns 1–6 belong to advertisers 1–3, two to each. */
const click = fc
  .record({
    at: fc.nat(50),
    campaignId: fc.integer({ min: 1, max: 6 }),
    priceMicros: fc.integer({ min: 1, max: 20 }),
    nonce: fc.option(fc.integer({ min: 1, max: 5 }), { freq: 2 }),
    invalid: fc.oneof(
      { weight: 5, arbitrary: fc.constant(null) },
      { weight: 1, arbitrary: fc.constantFrom('bot', 'paused') },
    ),
  })
  .map(({ at, nonce, campaignId, ...rest }) => ({
    ...rest,
    at,
    campaignId,
    advertiserId: (campaignId % ADVERTISERS) + 1,
    nonce: nonce === null ? null : uuidFloor(nonce),
  }));
const clicks: fc.Arbitrary<AllocatableClick[]> = fc.array(click, { maxLength: 30 }).map((drawn) =>
  drawn.map(({ at, ...rest }, index) => ({
    ...rest,
    clickedAt: at,
    clickId: uuidFloor(at * 1_000 + index),
  })),
);

/** Days of 20, 10 and 21 ms. */
const DAY_STARTS = [0, 20, 30, 51];

/** Days of campaign 1 or 2 with a daily cap; some days have none. */
const daysOf = (campaignId: number) =>
  fc
    .array(fc.option(fc.tuple(fc.integer({ min: 1, max: 40 }), fc.nat(40))), { minLength: 3, maxLength: 3 })
    .map((drawn) =>
      drawn.flatMap((terms, index): CampaignDay[] => {
        if (terms === null) return [];
        const [capMicros, spentMicros] = [BigInt(terms[0]), BigInt(Math.min(...terms))];
        const [beginsAt = 0, endsAt = 0] = DAY_STARTS.slice(index);
        const advertiserId = (campaignId % ADVERTISERS) + 1;
        return [
          {
            campaignId,
            advertiserId,
            day: `day ${index}`,
            beginsAt,
            endsAt,
            capMicros,
            spentMicros,
            hold: false,
          },
        ];
      }),
    );

const balances: fc.Arbitrary<Balances> = fc
  .record({
    budgets: fc.tuple(fc.nat(60), fc.nat(60), fc.nat(60)),
    caps: fc.array(fc.option(fc.nat(30)), { minLength: 6, maxLength: 6 }),
    days: fc.tuple(daysOf(1), daysOf(2)),
    spent: fc.array(fc.integer({ min: 1, max: 5 }), { maxLength: 2 }),
  })
  .map(({ budgets, caps, days, spent }) => ({
    days: new Map(days.flatMap((found, index) => (found.length === 0 ? [] : [[index + 1, found] as const]))),
    budgets: new Map(budgets.map((budget, index) => [index + 1, BigInt(budget)])),
    caps: new Map(caps.flatMap((cap, index) => (cap === null ? [] : [[index + 1, BigInt(cap)] as const]))),
    spentNonces: new Set(spent.map(uuidFloor)),
  }));

function verdictsOf(given: readonly AllocatableClick[], left: Balances): Map<string, string> {
  const { verdicts } = allocate(given, left);
  return new Map(verdicts.map(({ click: { clickId }, verdict }) => [clickId, outcomeText(verdict)]));
}

function outcomeText({ outcome, reason }: { outcome: string; reason: string | null }): string {
  return reason === null ? outcome : `${outcome}: ${reason}`;
}

function isOn({ beginsAt, endsAt }: CampaignDay, { clickedAt }: AllocatableClick): boolean {
  return beginsAt <= clickedAt && clickedAt < endsAt;
}

/** A model with the same rules and no state: it decides each click from all clicks before it. */
function naive(given: readonly AllocatableClick[], left: Balances): Map<string, string> {
  const answers = new Map<string, string>();
  const inTime = given.toSorted((a, b) => a.clickId.localeCompare(b.clickId));
  for (const [index, one] of inTime.entries()) {
    const before = inTime.slice(0, index);
    const spentBy = (same: (other: AllocatableClick) => boolean) =>
      before
        .filter((other) => same(other) && answers.get(other.clickId) === 'charged')
        .reduce((sum, other) => sum + BigInt(other.priceMicros), 0n);
    const price = BigInt(one.priceMicros);
    const budget = left.budgets.get(one.advertiserId) ?? 0n;
    const cap = left.caps.get(one.campaignId);
    const day = left.days.get(one.campaignId)?.find((found) => isOn(found, one));
    const repeated =
      one.nonce !== null &&
      (left.spentNonces.has(one.nonce) || before.some((b) => b.nonce === one.nonce && b.invalid === null));
    if (one.invalid !== null) answers.set(one.clickId, `invalid: ${one.invalid}`);
    else if (repeated) answers.set(one.clickId, 'invalid: repeat');
    else if (spentBy((other) => other.advertiserId === one.advertiserId) + price > budget)
      answers.set(one.clickId, 'over_budget: budget');
    else if (cap !== undefined && spentBy((other) => other.campaignId === one.campaignId) + price > cap)
      answers.set(one.clickId, 'over_budget: cap');
    else if (
      day !== undefined &&
      day.spentMicros + spentBy((other) => other.campaignId === one.campaignId && isOn(day, other)) + price >
        day.capMicros
    )
      answers.set(one.clickId, 'over_budget: daily_cap');
    else answers.set(one.clickId, 'charged');
  }
  return answers;
}

/** Allocates one part after the other, each with the balances that the parts before left. */
function inParts(parts: readonly (readonly AllocatableClick[])[], left: Balances): Map<string, string> {
  const budgets = new Map(left.budgets);
  const caps = new Map(left.caps);
  let days = left.days;
  const spentNonces = new Set(left.spentNonces);
  const answers = new Map<string, string>();
  for (const part of parts) {
    const { verdicts, chargedByAdvertiser, chargedByCampaign, chargedByDay } = allocate(part, {
      budgets,
      caps,
      days,
      spentNonces,
    });
    for (const [id, micros] of chargedByAdvertiser) budgets.set(id, (budgets.get(id) ?? 0n) - micros);
    for (const [id, micros] of chargedByCampaign) {
      const cap = caps.get(id);
      if (cap !== undefined) caps.set(id, cap - micros);
    }
    const chargeOf = (day: CampaignDay) => chargedByDay.find(({ of }) => of === day)?.micros ?? 0n;
    days = new Map(
      [...days].map(([id, found]) => [
        id,
        found.map((day) => ({ ...day, spentMicros: day.spentMicros + chargeOf(day) })),
      ]),
    );
    for (const { click: one, verdict } of verdicts) {
      if (one.nonce !== null && verdict.outcome !== 'invalid') spentNonces.add(one.nonce);
      answers.set(one.clickId, outcomeText(verdict));
    }
  }
  return answers;
}

describe('an allocation of any clicks and balances', () => {
  it('never overspends a budget, a cap or a daily cap, and its sums are those of the clicks it charges', () => {
    fc.assert(
      fc.property(clicks, balances, (given, left) => {
        const { verdicts, chargedByAdvertiser, chargedByCampaign, chargedByDay } = allocate(given, left);
        for (const { of, micros } of chargedByDay) {
          expect(of.spentMicros + micros <= of.capMicros).toBe(true);
          const charged = verdicts.filter(
            ({ click: one, verdict }) =>
              verdict.outcome === 'charged' && one.campaignId === of.campaignId && isOn(of, one),
          );
          expect(micros).toBe(charged.reduce((sum, { click: one }) => sum + BigInt(one.priceMicros), 0n));
        }
        const byAdvertiser = new Map<number, bigint>();
        const byCampaign = new Map<number, bigint>();
        for (const { click: one, verdict } of verdicts) {
          if (verdict.outcome !== 'charged') continue;
          const price = BigInt(one.priceMicros);
          byAdvertiser.set(one.advertiserId, (byAdvertiser.get(one.advertiserId) ?? 0n) + price);
          if (!left.caps.has(one.campaignId)) continue;
          byCampaign.set(one.campaignId, (byCampaign.get(one.campaignId) ?? 0n) + price);
        }
        for (const [id, micros] of byAdvertiser) expect(micros <= (left.budgets.get(id) ?? 0n)).toBe(true);
        for (const [id, micros] of byCampaign) expect(micros <= (left.caps.get(id) ?? 0n)).toBe(true);
        expect(chargedByAdvertiser).toEqual(byAdvertiser);
        expect(chargedByCampaign).toEqual(byCampaign);
      }),
    );
  });

  it('gives every click one verdict and charges no nonce twice', () => {
    fc.assert(
      fc.property(clicks, balances, (given, left) => {
        const { verdicts } = allocate(given, left);
        expect(verdicts.map((v) => v.click.clickId).sort()).toEqual(given.map((c) => c.clickId).sort());
        const charged = verdicts.filter((v) => v.verdict.outcome === 'charged').map((v) => v.click.nonce);
        const nonces = charged.filter((nonce) => nonce !== null);
        expect(new Set(nonces).size).toBe(nonces.length);
        expect(nonces.some((nonce) => left.spentNonces.has(nonce))).toBe(false);
      }),
    );
  });

  it('equals a model that decides each click from all clicks before it', () => {
    fc.assert(
      fc.property(clicks, balances, (given, left) => {
        expect(verdictsOf(given, left)).toEqual(naive(given, left));
      }),
      { numRuns: 300 },
    );
  });

  it('decides the same in parts that follow each other in time, whether or not the money suffices', () => {
    fc.assert(
      fc.property(clicks, balances, fc.integer({ min: 1, max: 7 }), (given, left, size) => {
        const inTime = given.toSorted((a, b) => (a.clickId < b.clickId ? -1 : 1));
        const parts = Array.from({ length: Math.ceil(inTime.length / size) }, (_, part) =>
          inTime.slice(part * size, (part + 1) * size),
        );
        expect(inParts(parts, left)).toEqual(verdictsOf(given, left));
      }),
    );
  });

  it('decides the same in any parts while the money suffices and no nonce is shared', () => {
    const split = clicks.chain((given) =>
      fc.tuple(
        fc.constant(given.map((one, index) => ({ ...one, nonce: one.nonce && uuidFloor(1_000 + index) }))),
        fc.array(fc.nat(4), { minLength: given.length, maxLength: given.length }),
      ),
    );
    fc.assert(
      fc.property(split, ([given, parts]) => {
        const dealt = [0, 1, 2, 3, 4].map((part) => given.filter((_, index) => parts[index] === part));
        expect(inParts(dealt, PLENTY)).toEqual(verdictsOf(given, PLENTY));
      }),
    );
  });
});

describe('an allocation of clicks on one impression link', () => {
  const base = { campaignId: 3, advertiserId: 1, priceMicros: 5, clickedAt: 0, invalid: null };
  const nonce = uuidFloor(9);
  const left = {
    budgets: new Map([[1, 10n]]),
    caps: new Map(),
    days: new Map(),
    spentNonces: new Set<string>(),
  };

  it('charges a person who follows a robot on the same link', () => {
    const robot = { ...base, clickId: uuidFloor(1), nonce, invalid: 'bot' } as const;
    const person = { ...base, clickId: uuidFloor(2), nonce };
    expect([...verdictsOf([person, robot], left).values()]).toEqual(['invalid: bot', 'charged']);
  });

  it('spends the nonce of a click that is over budget', () => {
    const dear = { ...base, clickId: uuidFloor(1), nonce, priceMicros: 11 };
    const cheap = { ...base, clickId: uuidFloor(2), nonce };
    expect([...verdictsOf([dear, cheap], left).values()]).toEqual(['over_budget: budget', 'invalid: repeat']);
  });
});

describe('an allocation with a daily cap', () => {
  const click = { nonce: null, campaignId: 3, advertiserId: 1, priceMicros: 5, invalid: null };
  const day = { campaignId: 3, advertiserId: 1, capMicros: 10n, spentMicros: 4n, hold: false };
  const left: Balances = {
    budgets: new Map([[1, 100n]]),
    caps: new Map(),
    spentNonces: new Set(),
    days: new Map([
      [
        3,
        [
          { ...day, day: '2026-01-30', beginsAt: 100, endsAt: 200 },
          { ...day, day: '2026-01-31', beginsAt: 200, endsAt: 300 },
        ],
      ],
    ]),
  };

  it('counts each click against the cap of its own day, and a click of another day against none', () => {
    const given = [99, 100, 199, 200, 299, 300].map((clickedAt, index) => ({
      ...click,
      clickedAt,
      clickId: uuidFloor(index + 1),
    }));
    expect([...verdictsOf(given, left).values()]).toEqual([
      'charged',
      'charged',
      'over_budget: daily_cap',
      'charged',
      'over_budget: daily_cap',
      'charged',
    ]);
  });
});
