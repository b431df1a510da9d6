/*
 * Lets all connections of the front read into one buffer. Otherwise Node allocates 64 KiB for each read and gives the garbage collector a
 * new buffer: about a fifth of what a connection costs. `net.connect` offers this as its option `onread`; for the connections of a server,
 * Node has the same fields but no option. A connection that does not have them is read by `data` events.
 */
import { Socket } from 'node:net';

/** Bytes that one read returns at most, as without this buffer. */
const READ_BYTES_MAX = 65_536;

/** Called with the bytes that were read: the first `length` of `bytes`. They are valid until it returns. */
export type OnBytes = (bytes: Buffer, length: number) => void;

type Internals = Record<symbol, unknown> & {
  readonly _handle?: { readonly useUserBuffer?: (buffer: Uint8Array) => void } | null;
};

const shared = Buffer.allocUnsafeSlow(READ_BYTES_MAX);
const [BUFFER, CALLBACK] = ['kBuffer', 'kBufferCb'].map((name) =>
  Object.getOwnPropertySymbols(new Socket()).find(({ description }) => description === name),
);

/** Lets a connection that was just accepted read into the shared buffer. Returns `false` if it cannot. */
export function readIntoSharedBuffer(socket: Socket, onBytes: OnBytes): boolean {
  // The fields of net.Socket that its constructor sets for `onread`.
  const internals = socket as unknown as Internals;
  if (BUFFER === undefined || CALLBACK === undefined || internals._handle?.useUserBuffer === undefined)
    return false;
  internals[BUFFER] = shared;
  internals[CALLBACK] = (length: number, bytes: Buffer) => onBytes(bytes, length);
  internals._handle.useUserBuffer(shared);
  return true;
}

/** Ends that before node:http gets the connection. Its parser then reads from the handle itself, without a buffer of JavaScript. */
export function leaveSharedBuffer(socket: Socket): void {
  const internals = socket as unknown as Internals;
  if (BUFFER === undefined || CALLBACK === undefined) return;
  internals[BUFFER] = null;
  internals[CALLBACK] = null;
}
