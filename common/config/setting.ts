import { isIP } from 'node:net';
// The small half of zod: functions pay for every kilobyte at their start.
import * as z from 'zod/mini';
import { errorMessage, TollwayError } from '../errors.ts';
import { isCalendarDate } from '../unix-time.ts';

/** One setting: how it is read, and how it is told of. */
export type Setting<T> = {
  /** What an unset variable stands for, as one would write it; `unset` if there is no default. */
  readonly default: string;
  /** Unit and range, as docs/configuration.md prints them. */
  readonly range: string;
  readonly meaning: string;
  readonly schema: z.ZodMiniType<T, string | undefined>;
};

/** A whole number of a unit, within a range. */
export function whole(
  fallback: number,
  unit: string,
  min: number,
  max: number,
  meaning: string,
): Setting<number> {
  return parsed(String(fallback), `${unit}, ${min}–${max}`, meaning, (text) => {
    const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
    if (value >= min && value <= max) return value;
    throw new TollwayError(
      'bad_setting',
      `expected a whole number of ${min}–${max} (${unit}), got "${text}"`,
    );
  });
}

/** One of some words. */
export function choice<const T extends string>(
  fallback: T,
  choices: readonly T[],
  meaning: string,
): Setting<T> {
  return parsed(fallback, choices.join(' \\| '), meaning, (text) => {
    const found = choices.find((known) => known === text);
    if (found !== undefined) return found;
    throw new TollwayError('bad_setting', `expected one of ${choices.join(', ')}, got "${text}"`);
  });
}

/** A text that a parser reads; it throws what was expected and what came. */
export function parsed<T>(
  fallback: string,
  range: string,
  meaning: string,
  parse: (text: string) => T,
): Setting<T> {
  const schema = z.pipe(z._default(z.string(), fallback), z.transform(attempt(parse)));
  return { default: fallback, range, meaning, schema };
}

/** The same without a default. */
export function optional<T>(
  range: string,
  meaning: string,
  parse: (text: string) => T,
): Setting<T | undefined> {
  const read = attempt(parse);
  const schema = z.pipe(
    z.optional(z.string()),
    z.transform((text: string | undefined, context: Context) =>
      text === undefined ? undefined : read(text, context),
    ),
  );
  return { default: 'unset', range, meaning, schema };
}

type Context = Parameters<Parameters<typeof z.transform<string, unknown>>[0]>[1];

/** Turns what a parser throws into one of the problems that are reported together. */
function attempt<T>(parse: (text: string) => T) {
  return (text: string, context: Context): T => {
    try {
      return parse(text);
    } catch (error) {
      context.issues.push({ code: 'custom', message: errorMessage(error), input: text });
      return z.NEVER;
    }
  };
}

/** An address or a host name. */
export function host(text: string): string {
  if (isIP(text) || /^[A-Za-z0-9.-]{1,253}$/.test(text)) return text;
  throw new TollwayError('bad_setting', `expected an IP address or a host name, got "${text}"`);
}

/** Host names, separated by commas. */
export function hosts(text: string): readonly string[] {
  const names = text.split(',').map((name) => name.trim());
  return names.filter(Boolean).map(host);
}

/** A URL of one of some protocols. */
export function url(protocols: readonly string[], { isSecret = true }: { isSecret?: boolean } = {}) {
  return (text: string): string => {
    const expected = `expected a URL that begins with ${protocols.map((p) => `${p}//`).join(' or ')}`;
    // A database URL carries a password: the error does not repeat it.
    const got = isSecret || text.includes('@') ? '' : `, got "${text}"`;
    if (!URL.canParse(text) || !protocols.includes(new URL(text).protocol)) {
      throw new TollwayError('bad_setting', `${expected}${got}`);
    }
    return text;
  };
}

/** What links begin with: nothing may follow the path. */
export function linkBase(text: string): string {
  const given = new URL(url(['http:', 'https:'], { isSecret: false })(text));
  if (given.username !== '' || given.password !== '' || given.search !== '' || given.hash !== '') {
    throw new TollwayError(
      'bad_setting',
      'expected a URL without a user name, a password, a query or a fragment',
    );
  }
  return text.replace(/\/$/, '');
}

/** Addresses and networks, as pairs of an address and the length of its prefix. */
export function proxies(text: string): readonly { address: string; prefix: number }[] {
  const parts = text.split(',').map((part) => part.trim());
  return parts.filter(Boolean).map((part) => {
    const [address = '', prefix, ...rest] = part.split('/');
    const bits = isIP(address) === 4 ? 32 : isIP(address) === 6 ? 128 : 0;
    const length = prefix === undefined ? bits : /^\d{1,3}$/.test(prefix) ? Number(prefix) : -1;
    if (bits === 0 || length < 0 || length > bits || rest.length > 0) {
      throw new TollwayError(
        'bad_setting',
        `expected addresses or networks such as 10.0.0.0/8, got "${part}"`,
      );
    }
    return { address, prefix: length };
  });
}

/** Addresses with ports. */
export function brokers(text: string): readonly string[] {
  const parts = text.split(',').map((part) => part.trim());
  for (const part of parts) {
    if (!/^[A-Za-z0-9._-]+:\d{1,5}$/.test(part))
      throw new TollwayError('bad_setting', `expected host:port, …, got "${part}"`);
  }
  return parts;
}

/** Kafka and Kinesis allow the same characters; https://kafka.apache.org/documentation/#topicconfigs */
export function topicName(text: string): string {
  if (/^[A-Za-z0-9._-]{1,128}$/.test(text) && !/^\.{1,2}$/.test(text)) return text;
  throw new TollwayError('bad_setting', `expected 1–128 letters, digits, ".", "_" or "-", got "${text}"`);
}

/** The name of a consumer group. */
export function groupName(text: string): string {
  if (text.length <= 255) return text;
  throw new TollwayError('bad_setting', `expected at most 255 characters, got ${text.length}`);
}

/** Where a first start begins: with everything there is, with what comes from now on, or with what came since a time. */
export type StartPosition = 'earliest' | 'latest' | Date;

export function startPosition(text: string): StartPosition {
  if (text === 'earliest' || text === 'latest') return text;
  const time = /^[\d-]+T/.test(text) && isCalendarDate(text) ? new Date(text) : new Date(Number.NaN);
  if (!Number.isNaN(time.getTime())) return time;
  throw new TollwayError(
    'bad_setting',
    `expected earliest, latest or a time such as 2026-01-31T12:00:00Z, got "${text}"`,
  );
}
