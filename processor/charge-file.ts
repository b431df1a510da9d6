import { counted } from '../common/counted.ts';
import type { ErrorCode } from '../common/error-codes.ts';
import { errorCode, errorMessage, TollwayError } from '../common/errors.ts';
import { type ObjectLocation, objectName, openObjectStore } from '../common/s3.ts';
import type { ReadRecord } from '../contract/click-event.ts';
import { readClickFile } from './click-file.ts';

/** Lines passed to the handler at once. */
const BATCH_LINES = 2_000;

/** Settles records in their order; resolves to how many, from the first on, are settled and committed. */
export type Settle = (records: readonly ReadRecord[]) => Promise<number>;

/** Errors that end the run: no time is left, or the arithmetic of a charge is wrong. */
const FINAL_ERRORS = new Set(['not_settled', 'invariant']);

/**
 * Charges files of clicks from S3, one after the other. Returns the number of settled lines. A file that cannot be read does not keep the
 * others from being charged; afterwards this throws the errors of all failed files. `functionName` begins the errors.
 */
export async function chargeFiles(
  functionName: string,
  locations: readonly ObjectLocation[],
  settle: Settle,
): Promise<number> {
  const errors: unknown[] = [];
  let lines = 0;
  for (const location of locations) {
    try {
      lines += await chargeFile(functionName, location, settle);
    } catch (error) {
      errors.push(error);
      if (FINAL_ERRORS.has(errorCode(error) ?? '')) break;
    }
  }
  const [first, ...more] = errors;
  if (more.length > 0)
    throw new TollwayError(codeOf(errors.at(-1)), errors.map(errorMessage).join('; '), {
      cause: first,
      retryable: true,
    });
  if (first !== undefined) throw first;
  return lines;
}

/** The code of the last of several errors, which tells whether the remaining files were tried. */
function codeOf(error: unknown): ErrorCode {
  return error instanceof TollwayError ? error.code : 'unread_file';
}

/**
 * Charges a file of clicks from S3 as a stream. Returns the number of settled lines. Throws `not_settled` if `settle` left some; when the
 * file is read again from the start, the settled ones are duplicates.
 */
async function chargeFile(functionName: string, location: ObjectLocation, settle: Settle): Promise<number> {
  const store = openObjectStore();
  const name = `${functionName}: ${objectName(location)}`;
  let eTag: string | undefined;
  const open = async () => {
    const opened = await store.read(location, eTag);
    eTag = opened.eTag;
    return opened.stream;
  };
  let lines = 0;
  try {
    for await (const records of withFileName(functionName, name, readClickFile(name, open, BATCH_LINES))) {
      const settled = await settle(records);
      lines += settled;
      if (settled === records.length) continue;
      const message = `${name}: expected to settle every click in time, settled ${counted(lines, 'click')}; the file must be delivered again`;
      throw new TollwayError('not_settled', message, { retryable: true });
    }
  } finally {
    store.close();
  }
  return lines;
}

/** Adds the names of the function and the file to errors of S3 and the network, which have neither. */
async function* withFileName<T>(
  functionName: string,
  name: string,
  reading: AsyncIterable<T>,
): AsyncGenerator<T> {
  try {
    yield* reading;
  } catch (cause) {
    const code = errorCode(cause);
    if (code === 'bad_file') throw cause;
    const message = errorMessage(cause);
    if (code === 'object_gone') throw new TollwayError(code, `${functionName}: ${message}`, { cause });
    throw new TollwayError('unread_file', `${name}: expected to read it, got "${message}"`, {
      cause,
      retryable: true,
    });
  }
}
