import { readFileSync } from 'node:fs';
import { errorCode, TollwayError } from '../../common/errors.ts';

/** What a service level may be about. All are better when they are smaller. */
export const MEASURES = {
  p50: { unit: 'ms', meaning: 'latency that half of the answers of the worst phase keep below' },
  p90: { unit: 'ms', meaning: 'the same for 90 %' },
  p99: { unit: 'ms', meaning: 'the same for 99 %' },
  'p99.9': { unit: 'ms', meaning: 'the same for 99.9 %' },
  max: { unit: 'ms', meaning: 'the longest answer' },
  'p99/base': { unit: '', meaning: "the worst phase's p99 to that of the base" },
  drain: { unit: 's', meaning: 'time from the last arrival until every click is in the ledger' },
  age: { unit: 's', meaning: 'the greatest age of a click before the ledger' },
  failed: { unit: '%', meaning: 'part of the arrivals that got no answer, or a wrong one' },
  unrecorded: { unit: '%', meaning: 'part of the arrivals that were redirected without being recorded' },
  memory: { unit: 'MB', meaning: 'the most that a process of the stack held' },
  'over-delivery': {
    unit: 's',
    meaning: 'clicks sent to an advertiser past its budget, in seconds of its traffic, of the worst off',
  },
} as const;
export type Measure = keyof typeof MEASURES;

export type ServiceLevel = { readonly measure: Measure; readonly most: number };

/** A level, and what was measured of it; `null` where it could not be. */
export type LevelResult = ServiceLevel & { readonly measured: number | null; readonly met: boolean };

/** Reads a level such as `p99<=25ms`, `drain<=30s` or `failed<=0.1%`. Throws `bad_service_level`. */
export function parseServiceLevel(text: string): ServiceLevel {
  const [, name = '', limit = '', unit = ''] =
    /^([a-z0-9./-]+)\s*(?:<=|≤)\s*(\d+(?:\.\d+)?)\s*([A-Za-z%]*)$/.exec(text.trim()) ?? [];
  const measure = Object.keys(MEASURES).find((known) => known === name) as Measure | undefined;
  if (measure === undefined || unit !== MEASURES[measure].unit) {
    const forms = Object.entries(MEASURES).map(([known, { unit: its }]) => `${known}<=…${its}`);
    throw new TollwayError(
      'bad_service_level',
      `Expected a service level of the form ${forms.join(', ')}, got "${text}"`,
    );
  }
  return { measure, most: Number(limit) };
}

/** Reads levels from a file, one a line; empty lines and what follows a `#` are skipped. Throws `bad_service_level`. */
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

/** Judges what was measured. What could not be measured is not met. */
export function judge(
  levels: readonly ServiceLevel[],
  measured: Readonly<Partial<Record<Measure, number | null>>>,
): LevelResult[] {
  return levels.map((level) => {
    const value = measured[level.measure] ?? null;
    return { ...level, measured: value, met: value !== null && value <= level.most };
  });
}

/** A level as people read it: `p99 at most 25 ms, was 12.4 ms`. */
export function levelText({ measure, most, measured }: LevelResult): string {
  const { unit } = MEASURES[measure];
  const amount = (value: number) =>
    `${Number(value.toPrecision(3))}${unit === '' || unit === '%' ? unit : ` ${unit}`}`;
  return `${measure} at most ${amount(most)}, ${measured === null ? 'not measured' : `was ${amount(measured)}`}`;
}
