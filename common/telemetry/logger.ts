import { createRequire } from 'node:module';
import { type Logger, pino } from 'pino';
import type Pretty from 'pino-pretty';
import type { Config } from '../config/config.ts';

export type { Logger };

/** A logger for a function. Each line is written before the call returns, because a function can be frozen after its response. */
export function createFunctionLogger(name: string, { LOG_LEVEL: level }: Pick<Config, 'LOG_LEVEL'>): Logger {
  return pino({ level, base: { part: name } }, pino.destination({ dest: 1, sync: true }));
}

/**
 * A structured logger for one component, on standard output (1), or on standard error (2) if standard output is for results. Log lines
 * can have click ids and batch positions, never the address of a visitor.
 */
export function createLogger(
  part: string,
  config: Pick<Config, 'LOG_LEVEL' | 'LOG_FORMAT'>,
  destination: 1 | 2 = 1,
): Logger {
  const options = { level: config.LOG_LEVEL, base: { part } };
  if (config.LOG_FORMAT === 'json') return pino(options, pino.destination(destination));
  // Loaded on demand, because loading it takes as long as all other modules together.
  const pretty: typeof Pretty = createRequire(import.meta.url)('pino-pretty');
  const stream = pretty({
    sync: true,
    destination,
    ignore: 'pid,hostname,part',
    messageFormat: '[{part}] {msg}',
    translateTime: 'SYS:HH:MM:ss',
  });
  return pino(options, stream);
}
