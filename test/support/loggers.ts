import { pino } from 'pino';
import type { Logger } from '../../common/telemetry/logger.ts';

/** A logger that writes nothing. */
export const silent = pino({ level: 'silent' });

/** Names of pino's levels by their numbers. */
const LEVELS = new Map(Object.entries(pino.levels.values).map(([name, value]) => [value, name]));

/** A logger, by default at the level of the parts that `npm start` runs, and the lines it has written: `warn The message`. */
export function capturedLog(level = 'warn'): { readonly logger: Logger; readonly lines: string[] } {
  const lines: string[] = [];
  const write = (text: string) => {
    // One line of JSON, written by pino a moment ago.
    const { level: number, msg } = JSON.parse(text) as { level: number; msg: string };
    lines.push(`${LEVELS.get(number)} ${msg}`);
  };
  return { logger: pino({ level }, { write }), lines };
}
