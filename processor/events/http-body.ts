import type { IncomingMessage } from 'node:http';

/** Limits the memory that all requests in progress use together. */
export class MemoryLimit {
  private readonly bytesMax: number;
  private usedBytes = 0;

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax;
  }

  /** The reservation of one request; empty at first. */
  open(): MemoryReservation {
    let ownBytes = 0;
    return {
      reserve: (bytes) => {
        if (this.usedBytes + bytes > this.bytesMax) return false;
        this.usedBytes += bytes;
        ownBytes += bytes;
        return true;
      },
      release: () => {
        this.usedBytes -= ownBytes;
        ownBytes = 0;
      },
    };
  }
}

export type MemoryReservation = {
  /** Reserves more bytes. Returns `false`, and reserves nothing, if they would exceed the limit. */
  readonly reserve: (bytes: number) => boolean;
  /** Releases all bytes of this reservation. */
  readonly release: () => void;
};

/** The body of a request, or why there is none: it exceeds `bytesMax`, the memory limit is reached, or the connection broke. */
export type Body = Buffer | 'too_large' | 'at_capacity' | 'incomplete';

/**
 * Reads the body of a request, or returns the one that a framework has read (`rawBody`). Counts the bytes received and not those
 * declared: a chunked body declares no length, and a sender can declare more than it sends. Never throws. Leaves the rest of a refused
 * body unread.
 */
export async function readBody(
  request: IncomingMessage & { readonly rawBody?: Buffer },
  bytesMax: number,
  memory: MemoryReservation,
): Promise<Body> {
  const { rawBody } = request;
  if (rawBody !== undefined) {
    if (rawBody.length > bytesMax) return 'too_large';
    return memory.reserve(rawBody.length) ? rawBody : 'at_capacity';
  }
  if (Number(request.headers['content-length'] ?? 0) > bytesMax) return 'too_large';
  const chunks: Buffer[] = [];
  let length = 0;
  try {
    // Leaving the loop early must not destroy the socket: the response uses it.
    for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      length += chunk.length;
      if (length > bytesMax) return 'too_large';
      if (!memory.reserve(chunk.length)) return 'at_capacity';
      chunks.push(chunk);
    }
  } catch {
    return 'incomplete';
  }
  return Buffer.concat(chunks);
}
