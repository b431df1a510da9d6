import { errorMessage, TollwayError } from '../common/errors.ts';
import { type ObjectPlace, objectName, openObjectStore } from '../common/s3.ts';
import { readClickFile } from './click-file.ts';
import type { FunctionHome, Invocation } from './function-home.ts';

/** Lines handed to the handler at once. */
const BATCH_LINES = 2_000;

/**
 * Charges a file of clicks from S3, streamed. Answers how many lines were settled. Throws `not_settled` where the time was
 * over before its end: read again from the start, what was settled is found to be known.
 */
export async function chargeFile(
  home: FunctionHome,
  functionName: string,
  place: ObjectPlace,
  invocation: Invocation,
): Promise<number> {
  const store = openObjectStore();
  const name = `${functionName}: ${objectName(place)}`;
  let eTag: string | undefined;
  const open = async () => {
    const opened = await store.read(place, eTag);
    eTag = opened.eTag;
    return opened.stream;
  };
  let lines = 0;
  try {
    for await (const records of readClickFile(name, open, BATCH_LINES)) {
      const settled = await home.settle(records, invocation);
      lines += settled;
      if (settled === records.length) continue;
      const message = `${name}: expected to settle it in time, got as far as ${lines} clicks; it has to come again`;
      throw new TollwayError('not_settled', message, { retryable: true });
    }
  } catch (error) {
    if (!(error instanceof TollwayError) || error.message.startsWith(functionName)) throw error;
    throw new TollwayError(error.code, `${functionName}: ${errorMessage(error)}`, { cause: error });
  } finally {
    store.close();
  }
  return lines;
}
