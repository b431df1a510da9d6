import { counted } from '../common/counted.ts';
import type { ErrorCode } from '../common/error-codes.ts';
import { errorCode, errorMessage, TollwayError } from '../common/errors.ts';
import { type ObjectLocation, objectName, openObjectStore } from '../common/s3.ts';
import type { ReadRecord } from '../contract/click-event.ts';
import { readClickFile } from './click-file.ts';

/** Lines handed to the handler at once. */
const BATCH_LINES = 2_000;

/** Has records settled, in their order; resolves to how many, from the first on, are settled and committed. */
export type Settle = (records: readonly ReadRecord[]) => Promise<number>;

/** Errors after which no other file is tried: there is no time left, or our own arithmetic is wrong. */
const ENDING = new Set(['not_settled', 'invariant']);

/**
 * Charges files of clicks from S3, one after the other, in the name of `who`. Answers how many lines were settled. A file that cannot be
 * read costs the others nothing: they are charged, and then this throws what is wrong with each that was not.
 */
export async function chargeFiles(
  who: string,
  locations: readonly ObjectLocation[],
  settle: Settle,
): Promise<number> {
  const errors: unknown[] = [];
  let lines = 0;
  for (const location of locations) {
    try {
      lines += await chargeFile(who, location, settle);
    } catch (error) {
      errors.push(error);
      if (ENDING.has(errorCode(error) ?? '')) break;
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

/** The code of the last of several errors: it says whether the others were tried. */
function codeOf(error: unknown): ErrorCode {
  return error instanceof TollwayError ? error.code : 'unread_file';
}

/**
 * Charges a file of clicks from S3, streamed, in the name of `who`. Answers how many lines were settled. Throws `not_settled`
 * where `settle` left some: read again from the start, what was settled is found to be known.
 */
async function chargeFile(who: string, location: ObjectLocation, settle: Settle): Promise<number> {
  const store = openObjectStore();
  const name = `${who}: ${objectName(location)}`;
  let eTag: string | undefined;
  const open = async () => {
    const opened = await store.read(location, eTag);
    eTag = opened.eTag;
    return opened.stream;
  };
  let lines = 0;
  try {
    for await (const records of named(who, name, readClickFile(name, open, BATCH_LINES))) {
      const settled = await settle(records);
      lines += settled;
      if (settled === records.length) continue;
      const message = `${name}: expected to settle it in time, got as far as ${counted(lines, 'click')}; it has to come again`;
      throw new TollwayError('not_settled', message, { retryable: true });
    }
  } finally {
    store.close();
  }
  return lines;
}

/** Says of what keeps a file from being read whose call it was, and which file: S3, and the line to it, do not. */
async function* named<T>(who: string, name: string, reading: AsyncIterable<T>): AsyncGenerator<T> {
  try {
    yield* reading;
  } catch (cause) {
    const code = errorCode(cause);
    if (code === 'bad_file') throw cause;
    const why = errorMessage(cause);
    if (code === 'object_gone') throw new TollwayError(code, `${who}: ${why}`, { cause });
    throw new TollwayError('unread_file', `${name}: expected to read it, got "${why}"`, {
      cause,
      retryable: true,
    });
  }
}
