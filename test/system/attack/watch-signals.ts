import { sleep } from '../../../common/process.ts';

const PATHS = ['healthz', 'readyz', 'metrics'] as const;
type Path = (typeof PATHS)[number];
/** Time between two requests for the same page, in ms. */
const EVERY_MS = 500;
/** Longest wait for an answer, in ms: far beyond what an answer may take, so that the report says how long it took. */
const ANSWER_MS_MAX = 10_000;

/** One answer of an operations port. `status` is 0 when none came; `atMs` is the time of the request since the watch began. */
export type Answer = {
  readonly path: Path;
  readonly atMs: number;
  readonly ms: number;
  readonly status: number;
  readonly text: string;
};

/** The answers of one operations port, in the order of their requests. */
export type Watch = {
  readonly answers: () => readonly Answer[];
  /** The time in ms from the beginning to the first page that `holds`; infinite if there was none. */
  readonly firstMs: (path: Path, holds: (answer: Answer) => boolean) => number;
  /** The values of a metric over time, those of its first series; absent ones are left out. */
  readonly values: (metric: string) => readonly number[];
  readonly stop: () => Promise<void>;
};

/** Requests `/healthz`, `/readyz` and `/metrics` twice a second, each on its own, until it is stopped. */
export function watchSignals(opsUrl: string): Watch {
  const startedAt = performance.now();
  const stopping = new AbortController();
  const answers: Answer[] = [];
  const watch = async (path: Path) => {
    while (!stopping.signal.aborted) {
      answers.push(await readPage(opsUrl, path, startedAt));
      await sleep(EVERY_MS, stopping.signal);
    }
  };
  const running = Promise.all(PATHS.map(watch));
  return {
    answers: () => answers,
    firstMs: (path, holds) =>
      answers.find((answer) => answer.path === path && holds(answer))?.atMs ?? Number.POSITIVE_INFINITY,
    values: (metric) =>
      answers
        .filter(({ path }) => path === 'metrics')
        .map(({ text }) => metricIn(text, metric))
        .filter((value) => value !== undefined),
    stop: async () => {
      stopping.abort();
      await running;
    },
  };
}

/** Reads a page once. */
export async function readPage(opsUrl: string, path: Path, startedAt = performance.now()): Promise<Answer> {
  const sentAt = performance.now();
  const answer = (status: number, text: string) => ({
    path,
    atMs: sentAt - startedAt,
    ms: performance.now() - sentAt,
    status,
    text,
  });
  try {
    const response = await fetch(`${opsUrl}/${path}`, { signal: AbortSignal.timeout(ANSWER_MS_MAX) });
    return answer(response.status, await response.text());
  } catch {
    return answer(0, '');
  }
}

/** The value of a metric's first series in the text of `/metrics`. */
export function metricIn(text: string, metric: string): number | undefined {
  const [, value] = new RegExp(`^${metric}(?:\\{.*\\})? (\\S+)$`, 'm').exec(text) ?? [];
  return value === undefined ? undefined : Number(value);
}
