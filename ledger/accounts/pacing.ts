/**
 * The plan by which a campaign is to spend its daily cap: the line from `spentMicros` at `from` to `capMicros` at `to`. Times in Unix ms.
 * `campaign_today` (migrations/0001_advertisers.sql) makes it.
 */
export type Plan = {
  readonly capMicros: number;
  readonly from: number;
  readonly fromMicros: number;
  readonly to: number;
  /** What the day has spent, in committed charges, when the plan was read. */
  readonly spentMicros: number;
  /** Until when the campaign is ahead of its plan; `null` if it was not when the plan was read. */
  readonly aheadUntil: number | null;
};

/**
 * Returns SQL for a lateral join that selects the row of `campaign_today` of a row of `campaign` that satisfies `condition`. `offset 0`
 * makes PostgreSQL look up each campaign by its key: without statistics, it could compute the whole view for each of them.
 */
export function todayOfCampaign(condition = 'true'): string {
  return `select * from campaign_today where campaign_id = campaign.id and ${condition} offset 0`;
}

/** SQL that selects the plan of a row of `campaign_today` (alias `today`) as JSON; null for a campaign without pacing. */
export const PLAN_JSON = `case when today.pacing <> 'none' then json_build_object(
    'capMicros', today.cap_micros, 'from', ${unixMs('plan_from')}, 'fromMicros', today.plan_spent_micros, 'to', ${unixMs('plan_to')},
    'spentMicros', today.spent_micros, 'aheadUntil', case when today.ahead_until > now() then ${unixMs('ahead_until')} end
  ) end`;

function unixMs(column: string): string {
  return `ceil(1000 * extract(epoch from today.${column}))`;
}

/** Whether a value from a file is a plan. */
export function isPlan(value: unknown): value is Plan {
  // The cast is safe: every field is checked.
  const plan = (typeof value === 'object' && value !== null ? value : {}) as Record<keyof Plan, unknown>;
  const numbers = [plan.capMicros, plan.from, plan.fromMicros, plan.to, plan.spentMicros];
  return (
    numbers.every(Number.isSafeInteger) && (plan.aheadUntil === null || Number.isSafeInteger(plan.aheadUntil))
  );
}

/** How a campaign spends its daily cap, for programs that select ads. */
export type Pace = {
  /** The share of the daily cap that may be spent by now, 0–1. */
  readonly planned: number;
  /** The share that is spent, 0–1. */
  readonly spent: number;
  readonly isAhead: boolean;
  /** Until when the campaign is ahead, in Unix ms. With `hold`, ad servers send visitors to the fallback URL until then. */
  readonly aheadUntil: number | null;
};

/** A pace whose shares have four decimals, for people and other programs. */
export function roundPace(pace: Pace): Pace {
  const round = (share: number) => Math.round(share * 10_000) / 10_000;
  return { ...pace, planned: round(pace.planned), spent: round(pace.spent) };
}

/** The pace at a time in Unix ms. */
export function paceAt(plan: Plan, nowMs: number): Pace {
  const isAhead = plan.aheadUntil !== null && nowMs < plan.aheadUntil;
  return {
    planned: plannedMicros(plan, nowMs) / plan.capMicros,
    spent: plan.spentMicros / plan.capMicros,
    isAhead,
    aheadUntil: isAhead ? plan.aheadUntil : null,
  };
}

/** What may be spent by a time, in micros. It never falls, and is the daily cap from the end of the plan on. */
export function plannedMicros({ capMicros, from, fromMicros, to }: Plan, nowMs: number): number {
  if (nowMs >= to) return capMicros;
  if (nowMs <= from) return fromMicros;
  return fromMicros + ((capMicros - fromMicros) * (nowMs - from)) / (to - from);
}
