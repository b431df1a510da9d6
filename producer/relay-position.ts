import { closeSync, constants, openSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { errorCode, errorMessage } from '../common/errors.ts';
import type { Logger } from '../common/telemetry/logger.ts';
import { ThrottledLog } from '../common/telemetry/throttled-log.ts';

/** Name of the file in a spool's folder with the position of the relay. */
export const RELAYED_NAME = 'relayed';

/** Encodes a position: 16 digits and their CRC-32, so that a damaged number cannot skip clicks. */
export function encodePosition(sequence: number): string {
  const digits = String(sequence).padStart(16, '0');
  return `${digits} ${crc32(digits).toString(16).padStart(8, '0')}\n`;
}

/** Decodes a position, or returns `null` for any other text. */
function decodePosition(text: string): number | null {
  const sequence = Number(text.slice(0, 16));
  return Number.isSafeInteger(sequence) && sequence >= 0 && text === encodePosition(sequence)
    ? sequence
    : null;
}

/**
 * Reads the position of the relay: the highest sequence that the broker has confirmed. Returns 0 if there is no file, `null` if it is
 * damaged. Throws other errors of the file system.
 */
export function readRelayed(folder: string): number | null {
  try {
    return decodePosition(readFileSync(join(folder, RELAYED_NAME), 'latin1'));
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return 0;
    throw error;
  }
}

/**
 * Saves the position of a relay to disk. A failed write is logged and does not stop the relay: after a restart it publishes clicks twice.
 */
export class RelayPosition {
  private readonly path: string;
  private file: number | null = null;
  private readonly log: ThrottledLog;

  constructor(folder: string, logger: Logger) {
    this.path = join(folder, RELAYED_NAME);
    this.log = new ThrottledLog(logger, {
      failed:
        'The relay cannot save its position. After a restart it publishes some clicks again; none is charged twice',
      recovered: 'The relay saves its position again',
    });
  }

  /** Saves `sequence`, the highest one that the broker has confirmed. */
  save(sequence: number): void {
    try {
      this.file ??= openSync(this.path, constants.O_WRONLY | constants.O_CREAT, 0o600);
      writeSync(this.file, encodePosition(sequence), 0, 'latin1');
      this.log.recover({ path: this.path });
    } catch (error) {
      this.log.fail({ path: this.path, problem: errorMessage(error) });
    }
  }

  close(): void {
    if (this.file !== null) closeSync(this.file);
  }
}
