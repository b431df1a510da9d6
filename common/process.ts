import { inspect } from 'node:util';
import { errorMessage, isExternal, TollwayError } from './errors.ts';

/** Longest time from a signal to the end of the process, in ms. Clicks that are not published by then stay in the spool. */
export const DRAIN_MS_MAX = 9_000;

/** Something to close at shutdown, such as a port or a pool. `close` is called once, with the exit code of the process. */
export type Resource = { readonly name: string; readonly close: (exitCode: number) => Promise<void> | void };

/** Registers a resource that the process closes at shutdown. Resources are closed in reverse order. */
export type OnShutdown = (resource: Resource) => void;

/**
 * Runs a component as a process: starts it, waits for SIGINT, SIGTERM or the end of the parent process, then closes the registered
 * resources in reverse order. Exits with 0 after a shutdown and 1 after a failure. Only entry files call it. `component` begins each
 * line on standard error.
 *
 * A list and not an `AsyncDisposableStack`: `start` may still be running at a signal, and a resource that it registers while the others are
 * closed is closed too, where the stack throws a ReferenceError.
 */
export async function runProcess(
  start: (onShutdown: OnShutdown, fail: (error: unknown) => void) => Promise<void>,
  component: string,
): Promise<void> {
  const writeError = (message: string, error?: unknown) =>
    process.stderr.write(`${component}: ${message}${error === undefined ? '' : `\n${inspect(error)}`}\n`);
  const resources: Resource[] = [];
  let isEnding = false;

  const end = async (exitCode: number) => {
    if (isEnding) return;
    isEnding = true;
    const deadline = setTimeout(() => {
      writeError(`Shutdown did not complete within ${DRAIN_MS_MAX} ms. Exiting now`);
      process.exit(exitCode);
    }, DRAIN_MS_MAX);
    deadline.unref();
    for (let resource = resources.pop(); resource !== undefined; resource = resources.pop()) {
      try {
        await resource.close(exitCode);
      } catch (error) {
        if (isExternal(error)) writeError(`${resource.name} did not close cleanly: ${errorMessage(error)}`);
        else writeError(`${resource.name} did not close cleanly`, error);
      }
    }
    process.exit(exitCode);
  };
  const fail = (error: unknown) => {
    if (isEnding) return;
    // An expected failure is one line. Any other error is a bug, so its stack is written.
    if (error instanceof TollwayError || isExternal(error)) writeError(errorMessage(error));
    else writeError('Failed', error);
    void end(1);
  };

  // `on`, not `once`: the terminal and npm both send a Ctrl-C, and without a listener the second signal would end the process at once.
  process.on('SIGINT', () => void end(0));
  process.on('SIGTERM', () => void end(0));
  // The channel to the parent closes when the parent ends, even by SIGKILL.
  if (process.channel) process.once('disconnect', () => void end(0));
  process.on('uncaughtException', fail);
  process.on('unhandledRejection', fail);
  try {
    await start((resource) => resources.push(resource), fail);
  } catch (error) {
    fail(error);
  }
}

/** Waits `ms`, or less if `signal` is aborted. */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const wake = () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', wake);
      resolve();
    };
    const timer = setTimeout(wake, ms);
    signal?.addEventListener('abort', wake);
  });
}

/** Time to wait before attempt `attempt` (1, 2, …), in ms: doubles from 50 ms up to 5 s, with full jitter. */
export function backoffMs(attempt: number): number {
  return Math.random() * Math.min(5_000, 50 * 2 ** Math.min(attempt, 10));
}
