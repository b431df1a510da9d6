import type { WriteStream } from 'node:tty';

/** Time between two lines where the line cannot be written over, in ms. */
const LINE_MS = 5_000;

/** One live line of progress on a terminal; elsewhere plain lines now and then. */
export type Progress = {
  /** What is going on now; replaces what was shown before. */
  readonly show: (text: string) => void;
  /** A step that stays to be read. */
  readonly say: (text: string) => void;
  /** Leaves the line. */
  readonly end: () => void;
};

/** Shows progress on a stream, as a rule standard error: standard output is for results. */
export function createProgress(stream: WriteStream): Progress {
  const rewrites = stream.isTTY === true;
  let shown = false;
  let lineAt = Number.NEGATIVE_INFINITY;
  const end = () => {
    if (shown) stream.write('\n');
    shown = false;
  };
  return {
    show: (text) => {
      if (rewrites) {
        stream.write(`\r\u001b[K${text.slice(0, Math.max(20, stream.columns - 1))}`);
        shown = true;
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
