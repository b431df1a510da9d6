import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { encodeClick } from '../../contract/click-event.ts';
import { Spool, type SpoolOptions } from '../../producer/spool.ts';
import { SpoolReader } from '../../producer/spool-reader.ts';
import { silent } from './loggers.ts';
import { clickEvent } from './records.ts';
import { temporaryFolder } from './temporary-folder.ts';

export const ROOMY: Omit<SpoolOptions, 'root'> = {
  bytesMax: 1_000_000_000,
  segmentBytes: 8_388_608,
  sync: 'os',
  syncIntervalMs: 100,
};

/** Opens a spool in a new folder; it is closed when the test has ended. */
export function openSpool(options: Partial<SpoolOptions> = {}): Spool {
  const spool = new Spool({ ...ROOMY, root: options.root ?? temporaryFolder(), ...options }, silent);
  onTestFinished(() => spool.close());
  return spool;
}

/** A click as text with its number, at least `bytes` long. */
export function clickText(number: number, bytes = 0): string {
  const text = encodeClick(clickEvent({ userAgent: `Click ${number}` }));
  return text.replace(`Click ${number}`, `Click ${number}${'x'.repeat(Math.max(0, bytes - text.length))}`);
}

/** Appends in one event-loop turn, and waits for all results. */
export function append(spool: Spool, clicks: readonly string[]): Promise<(number | null)[]> {
  return Promise.all(
    clicks.map((click) => new Promise<number | null>((resolve) => spool.append(click, resolve))),
  );
}

/** Reads all readable clicks in order, and counts the damaged ones. */
export function readBack(
  folder: string,
  accepted: number,
  { from = 1, limit = 1_000 } = {},
): { clicks: string[]; damaged: number } {
  const reader = new SpoolReader(folder, from);
  const clicks: string[] = [];
  let damaged = 0;
  while (reader.next <= accepted) {
    const read = reader.read(accepted, limit);
    clicks.push(...read.payloads.map(String));
    damaged += read.damaged;
  }
  reader.close();
  return { clicks, damaged };
}

/** Bytes of the segments in a spool's folder. */
export function bytesOnDisk(folder: string): number {
  const segments = readdirSync(folder).filter((name) => name.endsWith('.segment'));
  return segments.reduce((sum, name) => sum + statSync(join(folder, name)).size, 0);
}
