import type { Connection } from '../../../common/connections.ts';
import type { Answer, ClickRequest } from '../../redirect/redirect.ts';
import { type PlainRequest, scanRequests } from './scan-request.ts';
import { leaveSharedBuffer, readIntoSharedBuffer } from './shared-read-buffer.ts';

/** Most requests of one connection that wait for their answers. With more, the connection is not read. */
const WAITING_MAX = 64;

/** Handles a request. Calls `answer` once, at once or later. */
export type Handler = (
  request: ClickRequest,
  connection: Connection,
  answer: (answer: Answer) => void,
) => void;

export type FrontDependencies = {
  readonly handle: Handler;
  /** Encodes the response to a plain request. */
  readonly bytesOf: (answer: Answer) => string | Buffer;
};

type Listeners = {
  /** The connection belongs to the server from now on. The bytes that the front does not answer are the next that it reads. */
  readonly onHandOver: () => void;
  readonly onError: (error: Error) => void;
  /** The connection is closed or handed over. */
  readonly onGone: () => void;
};

/**
 * One connection of the front. It answers plain requests until a chunk of bytes is something else. That chunk is held, and no more is read,
 * until all requests before it are answered. Then the server gets the connection, and the chunk as its first bytes.
 */
export class FrontConnection {
  readonly socket: Connection;
  readonly openedAt = performance.now();
  private readonly dependencies: FrontDependencies;
  private readonly listeners: Listeners;
  /** Address of the peer. */
  private readonly peer: string | undefined;
  /** Number of requests taken, and of answers written. */
  private taken = 0;
  private written = 0;
  /** Answers that were ready before the answer to an earlier request, by the number of their request. */
  private readonly early = new Map<number, string | Buffer>();
  private held: Buffer | null = null;

  constructor(socket: Connection, dependencies: FrontDependencies, listeners: Listeners) {
    this.socket = socket;
    this.dependencies = dependencies;
    this.listeners = listeners;
    this.peer = socket.remoteAddress;
    if (!readIntoSharedBuffer(socket, this.read)) socket.on('data', this.readChunk);
    socket.on('drain', this.proceed);
    socket.on('end', this.end);
    socket.on('error', this.fail);
    socket.on('close', listeners.onGone);
  }

  /** Stops reading requests, and reports an error of the connection as node:http reports it. */
  readonly fail = (error: Error): void => {
    this.release();
    // The error is reported once.
    this.socket.on('error', () => {});
    this.socket.resume();
    this.listeners.onError(error);
  };

  private readonly readChunk = (chunk: Buffer): void => this.read(chunk, chunk.length);

  private readonly read = (bytes: Buffer, length: number): void => {
    const requests = scanRequests(bytes, length);
    if (requests === null) this.held = Buffer.from(bytes.subarray(0, length));
    else for (const request of requests) this.take(request);
    if (this.held !== null || this.isFull()) {
      this.socket.pause();
      this.proceed();
    }
  };

  private take({ url, headers }: PlainRequest): void {
    const number = this.taken;
    this.taken += 1;
    this.dependencies.handle({ method: 'GET', url, headers, peer: this.peer }, this.socket, (answer) => {
      this.write(number, this.dependencies.bytesOf(answer));
    });
  }

  /** Writes an answer, and the later ones that are ready, in the order of their requests. */
  private write(number: number, bytes: string | Buffer): void {
    if (number !== this.written) {
      this.early.set(number, bytes);
      return;
    }
    let next: string | Buffer | undefined = bytes;
    while (next !== undefined) {
      // node:http drops an answer that the client does not wait for.
      if (this.socket.writable) this.socket.write(next, 'latin1');
      this.written += 1;
      next = this.early.get(this.written);
      this.early.delete(this.written);
    }
    this.proceed();
  }

  private isFull(): boolean {
    return this.socket.writableNeedDrain || this.taken - this.written >= WAITING_MAX;
  }

  /** Hands over a held chunk or reads on, as soon as the answers so far allow it. */
  private readonly proceed = (): void => {
    if (!this.socket.isPaused()) return;
    if (this.held === null) {
      if (!this.isFull()) this.socket.resume();
      return;
    }
    if (this.written < this.taken || this.socket.destroyed) return;
    this.release();
    this.socket.removeListener('close', this.listeners.onGone);
    this.listeners.onGone();
    this.socket.unshift(this.held);
    this.held = null;
    this.listeners.onHandOver();
    this.socket.resume();
  };

  /** A client that ends its side gets no more answers, as from node:http. */
  private readonly end = (): void => {
    this.socket.end();
  };

  private release(): void {
    leaveSharedBuffer(this.socket);
    this.socket.removeListener('data', this.readChunk);
    this.socket.removeListener('drain', this.proceed);
    this.socket.removeListener('end', this.end);
    this.socket.removeListener('error', this.fail);
  }
}
