import { InvalidArgumentError, Option } from 'commander';
import { errorMessage } from '../common/errors.ts';
import { parseDuration } from '../common/parse-time.ts';

/** Exit codes by verdict. A run that could not be measured says nothing about the target: it has neither passed nor failed. */
export const EXIT_CODES = { passed: 0, failed: 1, not_measured: 2 } as const;

/** Signals within this time count as one, in ms. */
const SAME_SIGNAL_MS = 300;

/** The first Ctrl-C ends the load, the second one the wait for the ledger, and the third one the process. */
export function interruptions(): { stopLoad: AbortSignal; giveUp: AbortSignal } {
  const [stopLoad, giveUp] = [new AbortController(), new AbortController()];
  let lastSignalAt = Number.NEGATIVE_INFINITY;
  process.on('SIGINT', () => {
    // A Ctrl-C reaches this process twice: from the terminal, and forwarded by npm.
    if (performance.now() - lastSignalAt < SAME_SIGNAL_MS) return;
    lastSignalAt = performance.now();
    if (!stopLoad.signal.aborted) stopLoad.abort();
    else if (!giveUp.signal.aborted) giveUp.abort();
    else process.exit(130);
  });
  return { stopLoad: stopLoad.signal, giveUp: giveUp.signal };
}

/** An option for a duration, in ms. The help shows `defaultMs` as `1m` or `5s`. */
export function time(flags: string, description: string, defaultMs: number): Option {
  const shown = defaultMs % 60_000 === 0 ? `${defaultMs / 60_000}m` : `${defaultMs / 1_000}s`;
  return new Option(flags, description).default(defaultMs, shown).argParser(parseTime);
}

/** An option for a share, 0–1, which is given in per cent. */
export function share(flags: string, description: string, fallback: number): Option {
  return new Option(flags, description).default(fallback, `${fallback * 100}%`).argParser(parseShare);
}

function parseShare(text: string): number {
  const percent = /^\d{1,3}(\.\d+)?%$/.test(text) ? Number(text.slice(0, -1)) : Number.NaN;
  if (percent <= 100) return percent / 100;
  throw new InvalidArgumentError(`Expected a share such as 5%, got "${text}"`);
}

/** Parses a rate above 0, in clicks per second. Throws `InvalidArgumentError`, which commander prints, like all parsers of this file. */
export function parseRate(text: string): number {
  const rate = /^\d{1,6}(\.\d{1,3})?$/.test(text) ? Number(text) : Number.NaN;
  if (rate > 0) return rate;
  throw new InvalidArgumentError(`Expected clicks per second above 0, got "${text}"`);
}

/** Parses a factor of 1 or more. */
export function parseFactor(text: string): number {
  const factor = /^\d{1,4}(\.\d{1,3})?$/.test(text) ? Number(text) : Number.NaN;
  if (factor >= 1) return factor;
  throw new InvalidArgumentError(`Expected a number of 1 or more, got "${text}"`);
}

/** Parses a whole number of 1–999999. */
export function parseNumber(text: string): number {
  const number = /^[1-9]\d{0,5}$/.test(text) ? Number(text) : Number.NaN;
  if (number > 0) return number;
  throw new InvalidArgumentError(`Expected a whole number of 1–999999, got "${text}"`);
}

/** Parses an exponent of Zipf's law, 0–5. */
export function parseSkew(text: string): number {
  const skew = /^\d(\.\d{1,3})?$/.test(text) ? Number(text) : Number.NaN;
  if (skew <= 5) return skew;
  throw new InvalidArgumentError(`Expected a number of 0–5, got "${text}"`);
}

/** Parses the URL of an ad server and returns its origin. */
export function parseUrl(text: string): string {
  if (URL.canParse(text) && /^https?:$/.test(new URL(text).protocol)) return new URL(text).origin;
  throw new InvalidArgumentError(`Expected a URL such as http://localhost:8080, got "${text}"`);
}

function parseTime(text: string): number {
  return invalidOr(() => parseDuration(text));
}

/** Calls a parser and converts its error to an `InvalidArgumentError`, which commander prints. */
export function invalidOr<T>(parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    // Messages about settings begin in lower case, because the name of the setting precedes them.
    const message = errorMessage(error);
    throw new InvalidArgumentError(`${message.charAt(0).toUpperCase()}${message.slice(1)}`);
  }
}
