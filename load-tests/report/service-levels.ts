import { readFileSync } from 'node:fs';
import { errorCode, TollwayError } from '../../common/errors.ts';

/** The measures of service levels. For all of them, lower is better. */
export const MEASURES = {
  p50: { unit: 'ms', meaning: 'latency of 50 % of the answers, in the slowest phase' },
  p90: { unit: 'ms', meaning: 'latency of 90 % of the answers, in the slowest phase' },
  p99: { unit: 'ms', meaning: 'latency of 99 % of the answers, in the slowest phase' },
  'p99.9': { unit: 'ms', meaning: 'latency of 99.9 % of the answers, in the slowest phase' },
  max: { unit: 'ms', meaning: 'highest latency' },
  'p99/base': { unit: '', meaning: 'p99 of the slowest phase, divided by that of the base' },
  drain: { unit: 's', meaning: 'time from the last arrival until every click is in the ledger' },
  age: { unit: 's', meaning: 'highest age of a click that is not yet in the ledger' },
  failed: { unit: '%', meaning: 'arrivals without an answer, or with a wrong one' },
  unrecorded: { unit: '%', meaning: 'arrivals that were redirected without being recorded' },
  memory: { unit: 'MB', meaning: 'highest resident memory of a process of the stack' },
  'over-delivery': {
    unit: 's',
    meaning: "clicks past an advertiser's budget, in seconds of its traffic; the highest of all advertisers",
  },
} as const;
export type Measure = keyof typeof MEASURES;

/** A measure and its upper limit, in the unit of the measure. */
export type ServiceLevel = { readonly measure: Measure; readonly limit: number };

/** A service level and its measured value, `null` if it could not be measured. */
export type LevelResult = ServiceLevel & { readonly measured: number | null; readonly met: boolean };

/** Reads a level such as `p99<=25ms`, `drain<=30s` or `failed<=0.1%`. Throws `bad_service_level`. */
export function parseServiceLevel(text: string): ServiceLevel {
  const [, name = '', limit = '', unit = ''] =
    /^([a-z0-9./-]+)\s*(?:<=|≤)\s*(\d+(?:\.\d+)?)\s*([A-Za-z%]*)$/.exec(text.trim()) ?? [];
  const measure = Object.keys(MEASURES).find((known) => known === name) as Measure | undefined;
  if (measure === undefined || unit !== MEASURES[measure].unit) {
    const forms = Object.entries(MEASURES).map(([known, { unit: expected }]) => `${known}<=…${expected}`);
    throw new TollwayError(
      'bad_service_level',
      `Expected a service level of the form ${forms.join(', ')}, got "${text}"`,
    );
  }
  return { measure, limit: Number(limit) };
}

/** Reads service levels from a file, one per line. Empty lines and comments (`#`) are skipped. Throws `bad_service_level`. */
export function readServiceLevels(path: string): ServiceLevel[] {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new TollwayError(
      'bad_service_level',
      `Expected a file of service levels at ${path}, got ${errorCode(error)}`,
    );
  }
  return text
    .split('\n')
    .map((line) => line.replace(/#.*/, '').trim())
    .filter((line) => line !== '')
    .map(parseServiceLevel);
}

/** Compares the levels with the measured values. A level that could not be measured is not met. */
export function evaluateLevels(
  levels: readonly ServiceLevel[],
  measured: Readonly<Partial<Record<Measure, number | null>>>,
): LevelResult[] {
  return levels.map((level) => {
    const value = measured[level.measure] ?? null;
    return { ...level, measured: value, met: value !== null && value <= level.limit };
  });
}

/** The text of a level, such as `p99 at most 25 ms, was 12.4 ms`. */
export function levelText({ measure, limit, measured }: LevelResult): string {
  const { unit } = MEASURES[measure];
  const amount = (value: number) =>
    `${Number(value.toPrecision(3))}${unit === '' || unit === '%' ? unit : ` ${unit}`}`;
  return `${measure} at most ${amount(limit)}, ${measured === null ? 'not measured' : `was ${amount(measured)}`}`;
}
