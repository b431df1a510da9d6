import { isIP } from 'node:net';
import { TollwayError } from '../errors.ts';
import { isCalendarDate, isTimeInRange } from '../unix-time.ts';

/** One setting: its parser and its documentation. */
export type Setting<T> = {
  /** The default in the form that a variable has; `unset` if there is none. */
  readonly default: string;
  /** Unit and range, as docs/configuration.md prints them. */
  readonly range: string;
  readonly meaning: string;
  /**
   * Parses the text of the variable, `undefined` if it is unset. Throws an error with what was expected and what came. A function, not a schema
   * of zod: loading zod takes a quarter of the CPU time that a command of the command line needs to start.
   */
  readonly parse: (text: string | undefined) => T;
};

/** A setting that is a whole number of `unit`, from `min` to `max`. */
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

/** A setting that is one of `choices`. */
export function choice<const T extends string>(
  fallback: T,
  choices: readonly T[],
  meaning: string,
): Setting<T> {
  return parsed(fallback, choices.join(' \\| '), meaning, (text) => {
    const match = choices.find((value) => value === text);
    if (match !== undefined) return match;
    throw new TollwayError('bad_setting', `expected one of ${choices.join(', ')}, got "${text}"`);
  });
}

/** A setting with its own parser, which throws an error with what was expected and what came. */
export function parsed<T>(
  fallback: string,
  range: string,
  meaning: string,
  parse: (text: string) => T,
): Setting<T> {
  return { default: fallback, range, meaning, parse: (text = fallback) => parse(text) };
}

/** Like {@link parsed}, without a default. */
export function optional<T>(
  range: string,
  meaning: string,
  parse: (text: string) => T,
): Setting<T | undefined> {
  return {
    default: 'unset',
    range,
    meaning,
    parse: (text) => (text === undefined ? undefined : parse(text)),
  };
}

/** Parses an IP address or a host name. */
export function host(text: string): string {
  if (isIP(text) || /^[A-Za-z0-9.-]{1,253}$/.test(text)) return text;
  throw new TollwayError('bad_setting', `expected an IP address or a host name, got "${text}"`);
}

/** Parses host names separated by commas. */
export function hosts(text: string): readonly string[] {
  const names = text.split(',').map((name) => name.trim());
  return names.filter(Boolean).map(host);
}

/** A parser of URLs with one of `protocols`. Errors quote the URL only if it is not `isSecret` and has no credentials. */
export function url(protocols: readonly string[], { isSecret = true }: { isSecret?: boolean } = {}) {
  return (text: string): string => {
    const expected = `expected a URL that begins with ${protocols.map((p) => `${p}//`).join(' or ')}`;
    // A database URL has a password, so the error does not quote it.
    const got = isSecret || text.includes('@') ? '' : `, got "${text}"`;
    if (!URL.canParse(text) || !protocols.includes(new URL(text).protocol)) {
      throw new TollwayError('bad_setting', `${expected}${got}`);
    }
    return text;
  };
}

/** Parses the URL that links begin with. It ends with its path, and a final slash is removed. */
export function linkBase(text: string): string {
  const parsedUrl = new URL(url(['http:', 'https:'], { isSecret: false })(text));
  if (
    parsedUrl.username !== '' ||
    parsedUrl.password !== '' ||
    parsedUrl.search !== '' ||
    parsedUrl.hash !== ''
  ) {
    throw new TollwayError(
      'bad_setting',
      'expected a URL without a user name, a password, a query or a fragment',
    );
  }
  return text.replace(/\/$/, '');
}

/**
 * Parses addresses and networks separated by commas. An address alone has the longest prefix: 32 bits for IPv4, 128 for IPv6. Uses Node's
 * `isIP`, because ipaddr.js also reads `1` and `010.1.1.1` as addresses.
 */
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

/** Parses `host:port` pairs separated by commas. */
export function brokers(text: string): readonly string[] {
  const parts = text.split(',').map((part) => part.trim());
  for (const part of parts) {
    if (!/^[A-Za-z0-9._-]+:\d{1,5}$/.test(part))
      throw new TollwayError('bad_setting', `expected host:port, …, got "${part}"`);
  }
  return parts;
}

/** Parses the name of a topic or a stream. Kafka and Kinesis allow the same characters; https://kafka.apache.org/documentation/#topicconfigs */
export function topicName(text: string): string {
  if (/^[A-Za-z0-9._-]{1,128}$/.test(text) && !/^\.{1,2}$/.test(text)) return text;
  throw new TollwayError('bad_setting', `expected 1–128 letters, digits, ".", "_" or "-", got "${text}"`);
}

/** Parses the name of a consumer group, at most 255 characters. */
export function groupName(text: string): string {
  if (text.length <= 255) return text;
  throw new TollwayError('bad_setting', `expected at most 255 characters, got ${text.length}`);
}

/** The first record to read: the oldest one in the broker, the next one that arrives, or the first one since a time. */
export type StartPosition = 'earliest' | 'latest' | Date;

/** Parses a {@link StartPosition}. A time is RFC 3339, in the years 1970 to 9999 of UTC. */
export function startPosition(text: string): StartPosition {
  if (text === 'earliest' || text === 'latest') return text;
  const time = /^[\d-]+T/.test(text) && isCalendarDate(text) ? new Date(text) : new Date(Number.NaN);
  if (isTimeInRange(time)) return time;
  throw new TollwayError(
    'bad_setting',
    `expected earliest, latest or a time such as 2026-01-31T12:00:00Z in the years 1970 to 9999, got "${text}"`,
  );
}
