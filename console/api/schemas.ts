import * as z from 'zod';
import { errorMessage } from '../../common/errors.ts';
import { formatAmount, parseAmount, parseCurrency, parsePositiveAmount } from '../../common/money.ts';
import { assertTimeInRange, parseDuration } from '../../common/parse-time.ts';
import { parseExternalId, parseName, parseReference } from '../../common/text.ts';
import { parseTimeZone } from '../../common/time-zone.ts';
import { isCalendarDate } from '../../common/unix-time.ts';
import { parsePublisher } from '../../contract/publisher.ts';
import { parseUrlTemplate } from '../../ledger/accounts/url-template.ts';
import { STATUSES } from '../../ledger/status.ts';

/**
 * The values that several resources share. Each schema is a codec: it decodes the JSON of a request and encodes that of an answer, so a
 * handler works with micros, dates and numbers. The rules are the functions that the command line uses.
 */

/** The largest id of PostgreSQL's type `integer`. */
const ID_MAX = 2_147_483_647;

/** A codec of a text. `parse` throws an error whose message says what was expected and what came. */
export function textCodec<T extends z.ZodType>(
  value: T,
  parse: (text: string) => z.input<T>,
  format: (value: z.input<T>) => string,
) {
  return z.codec(z.string(), value, {
    decode: (text, context) => {
      try {
        return parse(text);
      } catch (error) {
        context.issues.push({ code: 'custom', message: errorMessage(error), input: text });
        return z.NEVER;
      }
    },
    encode: format,
  });
}

/** A codec of a value that `check` returns, or refuses by an error whose message says what was expected and what came. */
export function checked<T extends z.ZodType>(type: T, check: (value: z.output<T>) => z.output<T>) {
  return type.transform((value, context) => {
    try {
      return check(value);
    } catch (error) {
      context.issues.push({ code: 'custom', message: errorMessage(error), input: value });
      return z.NEVER;
    }
  });
}

const same = (text: string) => text;

/** The id of an advertiser, a campaign, an ad, a key or a webhook in a body. */
export const Id = z
  .int()
  .min(1)
  .max(ID_MAX)
  .meta({ examples: [1] });

/** The same in a path or a query, where everything is text. */
export const IdParameter = textCodec(z.int(), parseIdText, String).meta({
  type: 'integer',
  minimum: 1,
  maximum: ID_MAX,
  examples: [1],
});

/** Most ids of `IdsParameter`: as many as a page has. */
const IDS_MAX = 500;

/** Some ids in a query. */
export const IdsParameter = textCodec(z.array(z.int()), parseIds, (ids) => ids.join(',')).meta({
  description: `Only those with these ids, at most ${IDS_MAX}, separated by commas.`,
  examples: ['1,2'],
});

function parseIds(text: string): number[] {
  const ids = text.split(',');
  if (ids.length > IDS_MAX) throw new Error(`Expected at most ${IDS_MAX} ids, got ${ids.length}`);
  return ids.map(parseIdText);
}

/** An id of PostgreSQL's type `bigint`: a string in JSON, because it can exceed the integers that JSON parsers keep exactly. */
export const BigId = textCodec(z.bigint(), parseBigId, String).meta({
  pattern: '^[1-9][0-9]{0,18}$',
  examples: ['42'],
});

/** An amount in the currency of the advertiser, as micros in a `bigint`. A string in JSON, because JSON parsers read numbers as floats. */
export const Amount = textCodec(z.bigint(), parseAmount, formatAmount).meta({
  description: 'Decimal amount in the currency of the advertiser, with at most 6 decimals.',
  pattern: '^-?[0-9]{1,40}(\\.[0-9]{1,6})?$',
  examples: ['12.50'],
});

/** The same, above 0. */
export const PositiveAmount = textCodec(z.bigint(), parsePositiveAmount, formatAmount).meta({
  description: 'Decimal amount above 0 in the currency of the advertiser, with at most 6 decimals.',
  pattern: '^[0-9]{1,40}(\\.[0-9]{1,6})?$',
  examples: ['12.50'],
});

/** A time of RFC 3339 in the years 1970 to 9999; answers are in UTC. */
export const Time = textCodec(z.date(), parseTime, (time) => time.toISOString()).meta({
  description: 'Time of RFC 3339 in the years 1970 to 9999. Answers are in UTC.',
  format: 'date-time',
  examples: ['2026-01-31T12:00:00.000Z'],
});

/** An amount of an answer that is text already. */
export const AmountText = z.string().meta({
  description: 'Decimal amount in the currency of the advertiser.',
  pattern: '^-?[0-9]+\\.[0-9]{2,6}$',
  examples: ['12.50'],
});

/** A time of an answer that is text already. */
export const TimeText = z.string().meta({
  description: 'Time of RFC 3339, in UTC.',
  format: 'date-time',
  examples: ['2026-01-31T12:00:00.000Z'],
});

/** A time, or a day (`2026-01-31`), which stays a text: it begins at midnight of the time zone of the advertiser. */
export const DayOrTime = textCodec(z.union([z.date(), z.string()]), parseDayOrTime, (time) =>
  typeof time === 'string' ? time : time.toISOString(),
).meta({ examples: ['2026-01-31', '2026-01-31T12:00:00Z'] });

/** A length of time, in ms. */
export const Duration = textCodec(z.number(), parseDuration, (ms) => `${ms / 1_000}s`).meta({
  pattern: '^[0-9]{1,6}[smhd]$',
  examples: ['7d', '12h'],
});

export const Name = textCodec(z.string(), parseName, same).meta({
  description: '1–200 printable characters.',
  minLength: 1,
  maxLength: 200,
  examples: ['Blue Shoes'],
});

export const ExternalId = textCodec(z.string(), parseExternalId, same).meta({
  description: 'The id that another system gave it, 1–100 printable characters. Unique for the advertiser.',
  minLength: 1,
  maxLength: 100,
  examples: ['crm-4711'],
});

export const Publisher = textCodec(z.string(), parsePublisher, same).meta({
  description: 'Site or partner that shows a link.',
  pattern: '^[A-Za-z0-9_-]{1,32}$',
  examples: ['example-news'],
});

/** The URL of an ad or the fallback URL of a campaign. */
export const UrlTemplate = textCodec(z.string(), parseUrlTemplate, same).meta({
  description: 'Absolute URL. `{click_id}`, `{ad_id}` and `{campaign_id}` are replaced.',
  maxLength: 2_000,
  examples: ['https://example.com/?click={click_id}'],
});

export const Reference = textCodec(z.string(), parseReference, same).meta({
  description: '1–200 printable characters that do not begin with "credit ".',
  minLength: 1,
  maxLength: 200,
  examples: ['invoice-4711'],
});

export const Currency = textCodec(z.string(), parseCurrency, same).meta({
  description: 'ISO 4217 code.',
  pattern: '^[A-Z]{3}$',
  examples: ['USD'],
});

export const TimeZone = textCodec(z.string(), parseTimeZone, same).meta({
  description: 'IANA name of a time zone. Days of reports and statements begin at its midnight.',
  examples: ['Europe/Berlin'],
});

export const Status = z.enum(STATUSES).meta({
  description: 'Clicks are charged only if the advertiser, the campaign and the ad are `active`.',
});

/** A filter of a list by name. */
export const Search = z
  .string()
  .min(1)
  .max(200)
  .meta({
    description: 'Only those whose name contains this text, in upper or lower case.',
    examples: ['shoes'],
  });

/** `true` or `false` in a query. */
export const FlagParameter = z
  .codec(z.enum(['true', 'false']), z.boolean(), {
    decode: (text) => text === 'true',
    encode: (flag) => (flag ? 'true' : 'false'),
  })
  .meta({ examples: ['true'] });

function parseIdText(text: string): number {
  const id = /^[1-9]\d{0,9}$/.test(text) ? Number(text) : Number.NaN;
  if (id <= ID_MAX) return id;
  throw new RangeError(`Expected an id of 1–${ID_MAX}, got "${text}"`);
}

function parseBigId(text: string): bigint {
  const id = /^[1-9]\d{0,18}$/.test(text) ? BigInt(text) : 0n;
  if (id > 0n && id < 2n ** 63n) return id;
  throw new RangeError(`Expected an id of 1–9223372036854775807, got "${text}"`);
}

/** https://www.rfc-editor.org/rfc/rfc3339#section-5.6 */
const RFC_3339 = /^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$/;

function parseTime(text: string): Date {
  const time =
    RFC_3339.test(text) && isCalendarDate(text) ? new Date(text.toUpperCase()) : new Date(Number.NaN);
  if (Number.isNaN(time.getTime()))
    throw new RangeError(`Expected a time such as 2026-01-31T12:00:00Z, got "${text}"`);
  assertTimeInRange(time, text);
  return time;
}

function parseDayOrTime(text: string): Date | string {
  if (!/^\d{4}-\d\d-\d\d$/.test(text) || !isCalendarDate(text)) return parseTime(text);
  assertTimeInRange(new Date(text), text);
  return text;
}
