/**
 * An expected failure: something a person can put right, or a machine can try again.
 * `code` is stable and may be branched on; the message is for people and says what was expected,
 * what came and which one. A broken invariant is a plain `Error` instead, and ends the process.
 */
export class TollwayError extends Error {
  readonly code: string;
  readonly retryable: boolean;

  constructor(code: string, message: string, options: { cause?: unknown; retryable?: boolean } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'TollwayError';
    this.code = code;
    this.retryable = options.retryable ?? false;
  }
}

/** The stable code of a system or library error (`ENOSPC`, `23505`, …), or `undefined` if it carries none. */
export function errorCode(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

/**
 * Whether an error tells of the world outside the process: the operating system or the network refused a call, PostgreSQL or SQLite
 * a statement. Its message says what there is to know; its stack is of no use to an operator.
 */
export function isExternal(error: unknown): boolean {
  if (error instanceof AggregateError) return error.errors.length > 0 && error.errors.every(isExternal);
  if (!(error instanceof Error) || errorCode(error) === undefined) return false;
  return 'syscall' in error || 'severity' in error || 'errcode' in error;
}

/** What an unknown thrown value says, in one line. */
export function errorMessage(error: unknown): string {
  // Node reports a refused connection to a name with several addresses as an AggregateError without a text.
  if (error instanceof AggregateError && error.message === '') {
    return error.errors.map(errorMessage).join('; ');
  }
  return error instanceof Error ? error.message : String(error);
}
