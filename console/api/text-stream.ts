import { once } from 'node:events';
import { PassThrough, type Readable } from 'node:stream';
import * as z from 'zod';

/** The body of an answer that is a stream of text. Fastify does not encode it. */
export const TextBody = z.unknown().meta({ type: 'string' });

/** Longest time, in ms, that a client may read nothing: meanwhile the export holds a snapshot, which delays the closing of days. */
const STALL_MS_MAX = 30_000;

/**
 * Returns a stream of the texts that `produce` writes. `produce` waits while the client does not read, and fails if the client has gone or has
 * read nothing for 30 s. If it fails before it has written anything, the request gets the error as its answer. Later, the stream breaks off, so
 * that the client does not take a part for the whole. `onEnd` is called when `produce` has ended or failed.
 */
export function textStream(
  produce: (write: (text: string) => Promise<void>) => Promise<void>,
  onError: (error: unknown) => void,
  onEnd: () => void = () => {},
): Readable {
  const stream = new PassThrough();
  let isBegun = false;
  const gone = new AbortController();
  stream.once('close', () => gone.abort(new Error('The client has closed the connection')));
  const write = async (text: string) => {
    gone.signal.throwIfAborted();
    isBegun = true;
    if (stream.write(text)) return;
    await once(stream, 'drain', {
      signal: AbortSignal.any([gone.signal, AbortSignal.timeout(STALL_MS_MAX)]),
    });
  };
  produce(write)
    .finally(onEnd)
    .then(
      () => stream.end(),
      (error: unknown) => {
        if (isBegun && !gone.signal.aborted) onError(error);
        // Fastify answers with the error if it has sent nothing yet.
        stream.destroy(error instanceof Error ? error : undefined);
      },
    );
  return stream;
}
