import type { FastifySchemaCompiler } from 'fastify';
import type { FastifySchemaValidationError } from 'fastify/types/schema.js';
import type * as z from 'zod';
import { printable } from '../../common/text.ts';

/** Most characters of a value that an error quotes. */
const QUOTED_CHARS_MAX = 100;

/** Validates a request by a schema of zod. All that is wrong with it is reported together, each with a JSON pointer. */
export const validatorCompiler: FastifySchemaCompiler<z.ZodType> =
  ({ schema }) =>
  (data) => {
    const { success, data: value, error } = schema.safeParse(data, { error: describeIssue });
    return success ? { value } : { error: error.issues.flatMap(toErrors) as unknown as Error };
  };

/** The errors of an issue, as Fastify passes them on. zod reports all unknown fields of an object as one issue. */
function toErrors(issue: z.core.$ZodIssue): FastifySchemaValidationError[] {
  const error = (path: readonly PropertyKey[], message: string) => ({
    keyword: issue.code ?? 'custom',
    instancePath: path.map((part) => `/${String(part).replaceAll('~', '~0').replaceAll('/', '~1')}`).join(''),
    schemaPath: '',
    params: {},
    message,
  });
  if (issue.code !== 'unrecognized_keys') return [error(issue.path, issue.message)];
  return issue.keys.map((key) => error([...issue.path, key], 'Expected no value of this name'));
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
