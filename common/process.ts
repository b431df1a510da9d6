import { inspect } from 'node:util';
import { errorMessage, isExternal, TollwayError } from './errors.ts';

/** Longest time from a signal to the end of the process, in ms. What is not drained by then stays spooled. */
export const DRAIN_MS_MAX = 9_000;

/** Something with a life: `close` ends it and may be called once. */
export type Resource = { readonly name: string; readonly close: () => Promise<void> | void };

/**
 * Runs one part of the system as a process: starts it, waits for SIGINT, SIGTERM or the end of the process
 * that spawned it, and closes what it opened in reverse order. Ends the process: 0 after a drain, 1 after a
 * failure. For entry files alone.
 */
export async function runProcess(
  start: (open: (resource: Resource) => void, fail: (error: unknown) => void) => Promise<void>,
  part: string,
): Promise<void> {
  const say = (message: string, error?: unknown) =>
    process.stderr.write(`${part}: ${message}${error === undefined ? '' : `\n${inspect(error)}`}\n`);
  const opened: Resource[] = [];
  let ending = false;

  const end = async (exitCode: number) => {
    if (ending) return;
    ending = true;
    const deadline = setTimeout(() => {
      say(`Not drained after ${DRAIN_MS_MAX} ms: ending now`);
      process.exit(exitCode);
    }, DRAIN_MS_MAX);
    deadline.unref();
    for (const resource of opened.reverse()) {
      try {
        await resource.close();
      } catch (error) {
        if (isExternal(error)) say(`${resource.name} did not close cleanly: ${errorMessage(error)}`);
        else say(`${resource.name} did not close cleanly`, error);
      }
    }
    process.exit(exitCode);
  };
  const fail = (error: unknown) => {
    if (ending) return;
    // A failure that was expected is one line; anything else is a bug and shows its stack.
    if (error instanceof TollwayError || isExternal(error)) say(errorMessage(error));
    else say('Failed', error);
    void end(1);
  };

  // `on` and not `once`: npm passes a Ctrl-C on to the process that the terminal has told already, and a second signal
  // without a listener would end the drain.
  process.on('SIGINT', () => void end(0));
  process.on('SIGTERM', () => void end(0));
  // A child is told of its parent's end, however it ended, by the channel between them closing.
  if (process.channel) process.once('disconnect', () => void end(0));
  process.on('uncaughtException', fail);
  process.on('unhandledRejection', fail);
  try {
    await start((resource) => opened.push(resource), fail);
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

/** How long to wait before attempt `attempt` (1, 2, …): doubles from 50 ms up to 5 s, with full jitter. */
export function backoffMs(attempt: number): number {
  return Math.random() * Math.min(5_000, 50 * 2 ** Math.min(attempt, 10));
}
