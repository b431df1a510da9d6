import type { ServerResponse } from 'node:http';

/** An error in the form that Lambda returns to the caller of a function. */
export type LambdaError = {
  readonly errorType: string;
  readonly errorMessage: string;
  readonly stackTrace: readonly string[];
};

/** The result of an invocation: the handler's return value after JSON serialization, or an error. */
export type LambdaResult = { readonly answer: unknown } | { readonly error: LambdaError };

export type LambdaEvent = {
  readonly requestId: string;
  readonly functionArn: string;
  /** In ms since 1970. */
  readonly deadlineMs: number;
  readonly payload: string;
};

const TRACE_ID = 'Root=1-00000000-000000000000000000000000;Parent=0000000000000000;Sampled=0';

/**
 * The state of one process at the Runtime API: starting, waiting for its next event (in a pending request), or handling an invocation. A process
 * that cannot start reports an init error instead of a request for the next event.
 */
export class RuntimeSession {
  /** Time of the first request for an event, on the clock of `performance.now()`; `null` before. */
  firstNextAt: number | null = null;
  private next: ServerResponse | null = null;
  private invocation: { readonly requestId: string; readonly settle: (result: LambdaResult) => void } | null =
    null;
  private ready = Promise.withResolvers<LambdaError | null>();

  get isInvoked(): boolean {
    return this.invocation !== null;
  }

  /** Keeps a request for the next event open until `deliver`. */
  waitForEvent(response: ServerResponse): void {
    this.firstNextAt ??= performance.now();
    this.next = response;
    // If the process ends, it no longer waits for an event.
    response.once('close', () => {
      if (this.next !== response) return;
      this.next = null;
      this.ready = Promise.withResolvers();
    });
    this.ready.resolve(null);
  }

  failToStart(error: LambdaError): void {
    this.ready.resolve(error);
  }

  /** Resolves when the process waits for an event, or to its init error. */
  waitForNext(): Promise<LambdaError | null> {
    return this.ready.promise;
  }

  /** Sends an event to the waiting process and resolves to its result. Throws if the process is not waiting. */
  send({ requestId, functionArn, deadlineMs, payload }: LambdaEvent): Promise<LambdaResult> {
    const response = this.next;
    if (response === null) throw new Error('Expected a process that waits for an event');
    const { promise, resolve } = Promise.withResolvers<LambdaResult>();
    this.invocation = { requestId, settle: resolve };
    this.next = null;
    this.ready = Promise.withResolvers();
    response.writeHead(200, {
      // Without a content type the runtime client crashes with SIGSEGV.
      'Content-Type': 'application/json',
      'Content-Length': Buffer.byteLength(payload),
      'Lambda-Runtime-Aws-Request-Id': requestId,
      'Lambda-Runtime-Deadline-Ms': deadlineMs,
      'Lambda-Runtime-Invoked-Function-Arn': functionArn,
      'Lambda-Runtime-Trace-Id': TRACE_ID,
    });
    response.end(payload);
    return promise;
  }

  /** Ends the current invocation. Returns whether `requestId` is its id. */
  settle(requestId: string, result: LambdaResult): boolean {
    if (this.invocation?.requestId !== requestId) return false;
    this.invocation.settle(result);
    this.invocation = null;
    return true;
  }
}
