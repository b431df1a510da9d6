import type { WriteStream } from 'node:tty';

/** Time between two progress lines if the stream is not a terminal, in ms. */
const LINE_MS = 5_000;

/** Progress output: on a terminal one line that is overwritten, otherwise a line every few seconds. */
export type ProgressDisplay = {
  /** Shows the current state and replaces the previous one. */
  readonly show: (text: string) => void;
  /** Writes a line that stays. */
  readonly say: (text: string) => void;
  /** Ends the line that `show` overwrites. */
  readonly end: () => void;
};

/** Creates progress output on a stream, usually standard error, because standard output is for results. */
export function createProgress(stream: WriteStream): ProgressDisplay {
  const isTerminal = stream.isTTY === true;
  let isLineOpen = false;
  let lineAt = Number.NEGATIVE_INFINITY;
  const end = () => {
    if (isLineOpen) stream.write('\n');
    isLineOpen = false;
  };
  return {
    show: (text) => {
      if (isTerminal) {
        stream.write(`\r\u001b[K${text.slice(0, Math.max(20, stream.columns - 1))}`);
        isLineOpen = true;
      } else if (performance.now() - lineAt >= LINE_MS) {
        lineAt = performance.now();
        stream.write(`${text}\n`);
      }
    },
    say: (text) => {
      end();
      stream.write(`${text}\n`);
    },
    end,
  };
}
