import type { FastifyRequest, FastifySchemaCompiler } from 'fastify';
import type { FastifySchemaValidationError } from 'fastify/types/schema.js';
import type * as z from 'zod';
import { TollwayError } from '../../common/errors.ts';
import { printable } from '../../common/text.ts';

/** Most characters of a value that an error quotes. */
const QUOTED_CHARS_MAX = 100;

/** Validates a request by a schema of zod. All that is wrong with it is reported together, each with a JSON pointer. */
export const validatorCompiler: FastifySchemaCompiler<z.ZodType> =
  ({ schema }) =>
  (data) => {
    const { success, data: value, error } = schema.safeParse(data, { error: describeIssue });
    const errors = success ? findUnstorable(data) : error.issues.flatMap(toErrors);
    return errors.length === 0 ? { value } : { error: errors as unknown as Error };
  };

/**
 * An `onRequest` hook that refuses a query whose percent encoding is broken or is not UTF-8: the parser of queries would keep the text as it
 * is. Throws `bad_request`.
 */
export async function assertQueryText({ url }: FastifyRequest): Promise<void> {
  const [, query = ''] = /\?(.*)/s.exec(url) ?? [];
  try {
    decodeURIComponent(query);
  } catch {
    throw new TollwayError('bad_request', `query: Expected percent-encoded UTF-8, got ${quote(query)}`);
  }
}

/** The texts of valid JSON that PostgreSQL cannot store: with NUL, or with half of a surrogate pair. */
function findUnstorable(data: unknown): FastifySchemaValidationError[] {
  const texts = typeof data === 'object' && data !== null ? textsOf(data, []) : [];
  return texts
    .filter(({ text }) => text.includes('\0') || !text.isWellFormed())
    .map(({ path, text }) =>
      toError(path, `Expected a text without NUL and without half of a surrogate pair, got ${quote(text)}`),
    );
}

/** All texts of a value, also names. A schema has accepted it, so it is not nested deeply. */
function textsOf(value: object, path: readonly string[]): { path: readonly string[]; text: string }[] {
  return Object.entries(value).flatMap(([name, one]: [string, unknown]) => {
    const place = [...path, name];
    const own = { path: place, text: name };
    if (typeof one === 'string') return [own, { path: place, text: one }];
    return typeof one === 'object' && one !== null ? [own, ...textsOf(one, place)] : [own];
  });
}

/** The errors of an issue, as Fastify passes them on. zod reports all unknown fields of an object as one issue. */
function toErrors(issue: z.core.$ZodIssue): FastifySchemaValidationError[] {
  if (issue.code !== 'unrecognized_keys') return [toError(issue.path, issue.message)];
  return issue.keys.map((key) => toError([...issue.path, key], 'Expected no value of this name'));
}

/** An error about the value at `path`. */
function toError(path: readonly PropertyKey[], message: string): FastifySchemaValidationError {
  const parts = path.map((part) => `/${String(part).replaceAll('~', '~0').replaceAll('/', '~1')}`);
  return { keyword: 'invalid', instancePath: parts.join(''), schemaPath: '', params: {}, message };
}

/** What was expected, and what came. `undefined` leaves the message to zod. */
function describeIssue(issue: z.core.$ZodRawIssue): string | undefined {
  const got = quote(issue.input);
  switch (issue.code) {
    case 'invalid_type':
      return `Expected ${EXPECTED[issue.expected] ?? issue.expected}, got ${got}`;
    case 'invalid_value':
      return `Expected ${issue.values.map(quote).join(' or ')}, got ${got}`;
    case 'too_small':
      return `Expected ${issue.inclusive ? 'at least' : 'more than'} ${issue.minimum}${unitOf(issue.origin)}, got ${got}`;
    case 'too_big':
      return `Expected ${issue.inclusive ? 'at most' : 'less than'} ${issue.maximum}${unitOf(issue.origin)}, got ${got}`;
    default:
      return undefined;
  }
}

const EXPECTED: Readonly<Record<string, string>> = {
  string: 'a string',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  object: 'an object',
  array: 'an array',
};

function unitOf(type: string): string {
  return type === 'string' ? ' characters' : type === 'array' ? ' items' : '';
}

/** A value as JSON, shortened. */
function quote(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (Array.isArray(value)) return 'an array';
  if (typeof value === 'object' && value !== null) return 'an object';
  const text = typeof value === 'string' ? JSON.stringify(value) : String(value);
  return printable(text.length > QUOTED_CHARS_MAX ? `${text.slice(0, QUOTED_CHARS_MAX)}…` : text);
}
