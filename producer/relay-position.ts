import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { errorCode } from '../common/errors.ts';

/** The file in a spool's folder that says how far the relay got. */
export const RELAYED_NAME = 'relayed';

/** The text of a position: 16 digits and their CRC-32, so that a damaged number skips no click. */
export function encodePosition(sequence: number): string {
  const digits = String(sequence).padStart(16, '0');
  return `${digits} ${crc32(digits).toString(16).padStart(8, '0')}\n`;
}

/** Reads the text of a position; `null` for anything else. */
function decodePosition(text: string): number | null {
  const sequence = Number(text.slice(0, 16));
  return Number.isSafeInteger(sequence) && sequence >= 0 && text === encodePosition(sequence)
    ? sequence
    : null;
}

/** How far the relay got with a spool: the highest sequence that the broker has confirmed, 0 without a file, `null` for a damaged one. */
export function readRelayed(folder: string): number | null {
  try {
    return decodePosition(readFileSync(join(folder, RELAYED_NAME), 'latin1'));
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return 0;
    throw error;
  }
}
