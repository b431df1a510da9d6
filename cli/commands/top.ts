import { errorMessage, TollwayError } from '../../common/errors.ts';
import { createPool, terminatePool } from '../../common/postgres/postgres.ts';
import { sleep } from '../../common/process.ts';
import { expectedParts } from '../../ledger/operations/expected-parts.ts';
import { command, findContext, type Output } from '../context.ts';
import { printJson } from '../print.ts';
import { drawFrame } from '../top/draw-frame.ts';
import { type TopFrame, TopReads } from '../top/top-reads.ts';

/** Longest wait for the database, in ms. */
const ANSWER_MS_MAX = 5_000;
const INTERVAL_SECONDS_MAX = 60;
/** Size of a frame where the output is no terminal. */
const PAPER = { columns: 200, rows: 200 };

/** https://invisible-island.net/xterm/ctlseqs/ctlseqs.html: the cursor to the top left, the rest of the line or of the screen cleared, … */
const TERMINAL = {
  topLeft: '\x1b[H',
  clearLine: '\x1b[K',
  clearBelow: '\x1b[J',
  clearAll: '\x1b[2J',
  hideCursor: '\x1b[?25l',
  showCursor: '\x1b[?25h',
};

type Options = Output & { readonly once?: boolean; readonly interval: number };

export const top = command(
  'top',
  'Show what happens now: clicks per second, budgets and when they run dry, the flow, the books, problems',
  ['top', 'top --interval 5', 'top --once --json'],
)
  .option('--once', 'print the numbers of one interval and end; --json implies it')
  .option('--interval <seconds>', 'time between two reads, 1–60 seconds', parseInterval, 1)
  .action(async ({ once = false, interval, format }: Options) => {
    const { config, stack } = findContext();
    const pool = createPool(stack.databaseUrl, 'top', 4, () => {}, ANSWER_MS_MAX, ANSWER_MS_MAX);
    const hasPostgresBroker = config.BROKER === 'postgres';
    const reads = new TopReads({ pool, hasPostgresBroker, expected: expectedParts(config) });
    try {
      if (once || format === 'json') await printOnce(reads, interval, format === 'json');
      else await redraw(reads, interval);
    } finally {
      await terminatePool(pool);
    }
  });

/** Reads twice, because clicks per second need two reads. */
async function printOnce(reads: TopReads, interval: number, isJson: boolean): Promise<void> {
  await reads.next();
  await sleep(interval * 1_000);
  const frame = await reads.next();
  if (isJson) printJson(frame);
  else process.stdout.write(`${drawFrame(frame, PAPER).join('\n')}\n`);
}

/** Redraws the screen until Ctrl-C. While the database does not answer, it shows the last numbers and their age. */
async function redraw(reads: TopReads, interval: number): Promise<void> {
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort());
  const { isTTY } = process.stdout;
  if (isTTY) process.stdout.write(TERMINAL.hideCursor + TERMINAL.clearAll);
  let last: { readonly frame: TopFrame; readonly atMs: number } | null = null;
  while (!stop.signal.aborted) {
    try {
      last = { frame: await reads.next(), atMs: performance.now() };
      show(drawFrame(last.frame, screen()));
    } catch (error) {
      // Without any numbers there is nothing to show: the reason is the answer.
      if (last === null) throw error;
      const staleSeconds = (performance.now() - last.atMs) / 1_000;
      show([...drawFrame(last.frame, screen(), staleSeconds), '', errorMessage(error)]);
    }
    await sleep(interval * 1_000, stop.signal);
  }
  if (isTTY) process.stdout.write(TERMINAL.showCursor);
}

function screen(): { columns: number; rows: number } {
  const { isTTY, columns, rows } = process.stdout;
  // The last line stays free: a line that ends there would scroll the screen.
  return isTTY ? { columns, rows: rows - 1 } : PAPER;
}

function show(lines: readonly string[]): void {
  const { topLeft, clearLine, clearBelow } = TERMINAL;
  if (!process.stdout.isTTY) process.stdout.write(`${lines.join('\n')}\n\n`);
  else
    process.stdout.write(`${topLeft}${lines.map((line) => `${line}${clearLine}\n`).join('')}${clearBelow}`);
}

function parseInterval(text: string): number {
  const seconds = /^[1-9]\d?$/.test(text) ? Number(text) : Number.NaN;
  if (seconds <= INTERVAL_SECONDS_MAX) return seconds;
  throw new TollwayError(
    'bad_count',
    `Expected an interval of 1–${INTERVAL_SECONDS_MAX} seconds, got "${text}"`,
  );
}
