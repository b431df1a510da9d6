import { TollwayError } from '../../common/errors.ts';
import { formatAmount } from '../../common/money.ts';
import { arrayLiteral, type Connection } from '../../common/postgres/postgres.ts';
import { printable } from '../../common/text.ts';
import { emit } from '../webhooks/emit.ts';

/** Most thresholds of an advertiser. */
const PERCENTS_MAX = 10;

/**
 * Reads thresholds of `budget.low`, in percent of the level, and returns them in descending order. Throws `bad_thresholds` unless they are at
 * most 10 different whole numbers of 1–99.
 */
export function parsePercents(percents: readonly (number | string)[]): number[] {
  const fits = percents.every((percent) => /^[1-9]\d?$/.test(String(percent)));
  const sorted = [...new Set(percents.map(Number))].sort((a, b) => b - a);
  if (fits && sorted.length === percents.length && sorted.length <= PERCENTS_MAX) return sorted;
  throw new TollwayError(
    'bad_thresholds',
    `Expected at most ${PERCENTS_MAX} different whole percentages of 1–99, got "${printable(percents.join(',').slice(0, 100))}"`,
  );
}

/**
 * SQL for the highest threshold of a row of `advertiser` below what remains: a share of the level, rounded down to micros. Null if there is
 * none. The arguments are SQL expressions in micros.
 */
export function nextThreshold(level: string, remaining: string): string {
  return `(select max(micros) from (${thresholds(level)}) threshold where micros < ${remaining})`;
}

function thresholds(level: string): string {
  return `select percent, floor((${level})::numeric * percent / 100)::bigint as micros from unnest(low_budget_percents) percent`;
}

/**
 * Emits `budget.low` for advertisers whose remaining budget has reached `low_budget_micros`, and sets that to the next threshold, so that each
 * is reached once until the next top-up or adjustment. If a batch reaches several at once, only the lowest is an event: the others say less
 * about the same moment. Call it under the advertisers' locks, after the charge.
 */
export async function emitLowBudget(connection: Connection, advertiserIds: readonly number[]): Promise<void> {
  if (advertiserIds.length === 0) return;
  const { rows } = await connection.query<{
    advertiserId: number;
    advertiserName: string;
    currency: string;
    remainingMicros: bigint;
    levelMicros: bigint;
    percent: number;
    thresholdMicros: bigint;
  }>(
    `update advertiser set low_budget_micros = ${nextThreshold('budget_level_micros', 'remaining_micros')}
     from (
       select distinct on (id) id, percent, micros from advertiser cross join lateral (${thresholds('budget_level_micros')}) threshold
       where id = any($1::integer[]) and micros >= remaining_micros order by id, percent
     ) reached
     where advertiser.id = reached.id
     returning advertiser.id as "advertiserId", name as "advertiserName", currency, remaining_micros as "remainingMicros",
       budget_level_micros as "levelMicros", reached.percent, reached.micros as "thresholdMicros"`,
    [arrayLiteral(advertiserIds)],
  );
  for (const { remainingMicros, levelMicros, thresholdMicros, ...row } of rows) {
    const data = {
      ...row,
      remaining: formatAmount(remainingMicros),
      threshold: formatAmount(thresholdMicros),
      level: formatAmount(levelMicros),
    };
    await emit(connection, { type: 'budget.low', advertiserId: row.advertiserId, data });
  }
}
