import type { LiveHealth } from '../../../live/live-events.ts';

/** As the console writes it: no part of the kind has reported within a day, and none answers at the address of the settings. */
const SILENT = 'does not answer';

/**
 * The kinds of parts of which none reports. It is no problem by itself: with Kafka and Kinesis, functions can do their work, and functions do
 * not report. But that nothing is wrong is not known then.
 */
export function silentParts(health: LiveHealth | null): ('adServer' | 'processor')[] {
  return (['adServer', 'processor'] as const).filter((part) => health?.[part] === SILENT);
}
