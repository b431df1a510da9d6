import type { ErrorCode } from './error-codes.ts';

/**
 * An expected failure: an operator can correct it, or the program can retry. `code` is stable, and code can branch on it. The message is
 * for people: what was expected, what came, and which one. A broken invariant ends the process: it is a plain `Error`, or has the code
 * `invariant` if a constraint of the database found it.
 */
export class TollwayError extends Error {
  readonly code: ErrorCode;
  readonly retryable: boolean;
  /** The name in the API of the value that is wrong, where the code alone does not tell. */
  readonly field: string | undefined;

  constructor(
    code: ErrorCode,
    message: string,
    options: { cause?: unknown; retryable?: boolean; field?: string } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'TollwayError';
    this.code = code;
    this.retryable = options.retryable ?? false;
    this.field = options.field;
  }
}

/** The stable code of a system or library error (`ENOSPC`, `23505`, …), or `undefined` if it carries none. */
export function errorCode(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

/**
 * Whether an error comes from outside the process: from the operating system, the network, PostgreSQL or SQLite. Its message is enough
 * for an operator; its stack does not help.
 */
export function isExternal(error: unknown): boolean {
  if (error instanceof AggregateError) return error.errors.length > 0 && error.errors.every(isExternal);
  if (!(error instanceof Error) || errorCode(error) === undefined) return false;
  return 'syscall' in error || 'severity' in error || 'errcode' in error;
}

/** The message of an unknown thrown value. */
export function errorMessage(error: unknown): string {
  // Node reports a refused connection to a name with several addresses as an AggregateError with an empty message.
  if (error instanceof AggregateError && error.message === '') {
    return error.errors.map(errorMessage).join('; ');
  }
  return error instanceof Error ? error.message : String(error);
}
