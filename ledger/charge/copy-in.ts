import type { Submittable, Connection as WireConnection } from 'pg';
import type { Connection } from '../../common/postgres/postgres.ts';

/** A `COPY … FROM STDIN` and its data. */
export type Copy = { readonly statement: string; readonly data: Buffer };

/** Bytes of messages: https://www.postgresql.org/docs/18/protocol-message-formats.html */
const QUERY = 0x51;
const COPY_DATA = 0x64;
const COPY_DONE = Buffer.from([0x63, 0, 0, 0, 4]);

/**
 * Runs `COPY` statements one after the other, in one query. Fails with the first error of the server; no data must be changed before this
 * settles.
 *
 * It sends the data at once and does not wait for the server to ask for it, which the protocol allows: the server drops data that follows
 * an error. Each wait would cost an iteration of the event loop, in which other lanes work for milliseconds. pg-copy-streams
 * waits three times for each `COPY`.
 * https://www.postgresql.org/docs/18/protocol-flow.html#PROTOCOL-COPY
 */
export function copyIn(connection: Connection, copies: readonly Copy[]): Promise<void> {
  if (copies.length === 0) return Promise.resolve();
  return new Promise((resolve, reject) => {
    connection.query(new CopyQuery(copies, resolve, reject));
  });
}

/** A query of `pg`, which calls the methods when messages of the server arrive. */
class CopyQuery implements Submittable {
  private readonly copies: readonly Copy[];
  private readonly resolve: () => void;
  private readonly reject: (error: Error) => void;
  /** `pg` replaces it by a function that ends the timer of `query_timeout`. */
  callback: () => void = () => {};

  constructor(copies: readonly Copy[], resolve: () => void, reject: (error: Error) => void) {
    this.copies = copies;
    this.resolve = resolve;
    this.reject = reject;
  }

  submit({ stream }: WireConnection): void {
    const text = Buffer.from(`${this.copies.map(({ statement }) => statement).join('; ')}\0`);
    // One system call for all messages.
    stream.cork();
    stream.write(header(QUERY, text.length));
    stream.write(text);
    for (const { data } of this.copies) {
      stream.write(header(COPY_DATA, data.length));
      stream.write(data);
      stream.write(COPY_DONE);
    }
    stream.uncork();
  }

  handleCopyInResponse(): void {}

  handleCommandComplete(): void {}

  handleReadyForQuery(): void {
    this.callback();
    this.resolve();
  }

  handleError(error: Error): void {
    this.callback();
    this.reject(error);
  }
}

/** The type of a message and its length, which counts itself. */
function header(type: number, bodyBytes: number): Buffer {
  const bytes = Buffer.alloc(5);
  bytes[0] = type;
  bytes.writeInt32BE(4 + bodyBytes, 1);
  return bytes;
}
