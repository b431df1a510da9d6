import type { IncomingMessage } from 'node:http';

/** A bound on the memory that all requests at work take together. */
export class MemoryBound {
  private readonly bytesMax: number;
  private held = 0;

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax;
  }

  /** The part of one request, empty at first. */
  open(): MemoryPart {
    let part = 0;
    return {
      take: (bytes) => {
        if (this.held + bytes > this.bytesMax) return false;
        this.held += bytes;
        part += bytes;
        return true;
      },
      release: () => {
        this.held -= part;
        part = 0;
      },
    };
  }
}

export type MemoryPart = {
  /** Takes so many bytes more; `false` where the bound has no room for them, and nothing was taken. */
  readonly take: (bytes: number) => boolean;
  /** Gives back all that was taken. */
  readonly release: () => void;
};

/** The body of a request, or why there is none: it is too large, there is no room for it now, or its sender has gone. */
export type Body = Buffer | 'too_large' | 'no_room' | 'cut_off';

/**
 * Reads the body of a request, or takes the one that a framework has read already (`rawBody`). Counts what was read and not what
 * the sender declares: a chunked body declares nothing, and a sender may declare more than it ever sends. Never throws.
 * What is left of a refused body is still to be read.
 */
export async function readBody(
  request: IncomingMessage & { readonly rawBody?: Buffer },
  bytesMax: number,
  memory: MemoryPart,
): Promise<Body> {
  const { rawBody } = request;
  if (rawBody !== undefined) {
    if (rawBody.length > bytesMax) return 'too_large';
    return memory.take(rawBody.length) ? rawBody : 'no_room';
  }
  if (Number(request.headers['content-length'] ?? 0) > bytesMax) return 'too_large';
  const chunks: Buffer[] = [];
  let length = 0;
  try {
    // Left open when it is left early: the answer goes out by the same socket.
    for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      length += chunk.length;
      if (length > bytesMax) return 'too_large';
      if (!memory.take(chunk.length)) return 'no_room';
      chunks.push(chunk);
    }
  } catch {
    return 'cut_off';
  }
  return Buffer.concat(chunks);
}
