import type { ChildProcess } from 'node:child_process';

/** Timeout of a request to a child process, in ms. */
const ANSWER_MS_MAX = 60_000;

/**
 * Sends a request to a child process and resolves to its response. Only one request can be pending. Rejects if the child ends or does not
 * answer in time.
 */
export function request<T>(child: ChildProcess, message: object): Promise<T> {
  return new Promise((resolve, reject) => {
    const settle = (act: () => void) => {
      clearTimeout(timer);
      child.off('message', onMessage);
      child.off('exit', onExit);
      act();
    };
    // The caller knows the response type: the child is a module of this folder.
    const onMessage = (response: unknown) => settle(() => resolve(response as T));
    const onExit = (code: number | null, signal: string | null) =>
      settle(() => reject(new Error(`${child.spawnargs.join(' ')} ended (${signal ?? code})`)));
    const timer = setTimeout(
      () => settle(() => reject(new Error(`${child.spawnargs.join(' ')} did not answer`))),
      ANSWER_MS_MAX,
    );
    child.on('message', onMessage);
    child.on('exit', onExit);
    child.send(message);
  });
}

/** In a child process: answers the requests of the parent, and exits when the parent ends. */
export function serveRequests<Q extends object>(answer: (message: Q) => Promise<object> | object): void {
  process.on('message', async (message) => {
    // Sent by `request` in the parent process, with the type that this child handles.
    process.send?.(await answer(message as Q));
  });
  process.once('disconnect', () => process.exit(0));
}
