import type { ChildProcess } from 'node:child_process';

/** Longest time for an answer of a child, in ms. */
const ANSWER_MS_MAX = 60_000;

/** Sends a child a question and resolves to its answer. One question at a time. Rejects when the child ends. */
export function request<T>(child: ChildProcess, question: object): Promise<T> {
  return new Promise((resolve, reject) => {
    const settle = (act: () => void) => {
      clearTimeout(timer);
      child.off('message', onMessage);
      child.off('exit', onExit);
      act();
    };
    // Both ends are ours: the child answers with what was asked for.
    const onMessage = (answer: unknown) => settle(() => resolve(answer as T));
    const onExit = (code: number | null, signal: string | null) =>
      settle(() => reject(new Error(`${child.spawnargs.join(' ')} ended (${signal ?? code})`)));
    const timer = setTimeout(
      () => settle(() => reject(new Error(`${child.spawnargs.join(' ')} did not answer`))),
      ANSWER_MS_MAX,
    );
    child.on('message', onMessage);
    child.on('exit', onExit);
    child.send(question);
  });
}

/** In a child: answers every question of the parent, and ends with it. */
export function serveRequests<Q extends object>(answer: (question: Q) => Promise<object> | object): void {
  process.on('message', async (question) => {
    // Sent by `request` in the parent process.
    process.send?.(await answer(question as Q));
  });
  process.once('disconnect', () => process.exit(0));
}
