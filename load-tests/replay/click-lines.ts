import { CLICK_BYTES_MAX, ID_MAX } from '../../contract/click-event.ts';
import { timeOf } from '../../processor/click-file.ts';
import { isObject } from '../../processor/events/bad-event.ts';
import type { LineResult, Reader } from './line-result.ts';

/** Creates a reader for a format with one record per line. It ignores empty lines. */
export function eachLine(read: (line: string, number: number) => LineResult): Reader {
  return async function* (lines) {
    let number = 0;
    for await (const line of lines) {
      number += 1;
      if (line.length === 0) continue;
      yield line.length > CLICK_BYTES_MAX ? tooLong(number) : read(line.toString(), number);
    }
  };
}

export function tooLong(line: number): LineResult {
  return { is: 'broken', line, why: `Expected at most ${CLICK_BYTES_MAX} bytes, got more` };
}

/** The object in a line of JSON, or an error message if the line is not a JSON object. */
export function parseObject(text: string): Record<string, unknown> | string {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : 'Expected a JSON object';
  } catch {
    return 'Expected JSON';
  }
}

/** A click from fields with the names of a click event. The line is broken if `adId` or `clickedAt` is missing, which cannot be looked up. */
export function clickOf(event: Readonly<Record<string, unknown>>, line: number): LineResult {
  const { adId } = event;
  if (typeof adId !== 'number' || !Number.isInteger(adId) || adId < 1 || adId > ID_MAX)
    return { is: 'broken', line, why: `Expected a whole number of 1–${ID_MAX} in adId, got ${shown(adId)}` };
  const clickedAt = timeOf(event);
  if (clickedAt !== null) return { is: 'event', line, clickedAt, adId, event };
  const why = `Expected a time with a zone, or Unix seconds or ms, in clickedAt, got ${shown(event.clickedAt)}`;
  return { is: 'broken', line, why };
}

function shown(value: unknown): string {
  return value === undefined || value === '' ? 'nothing' : (JSON.stringify(value)?.slice(0, 60) ?? '?');
}

/** Reads click events, one per line, in the format of the S3 function. */
export const readClickLines: Reader = eachLine((text, line) => {
  const event = parseObject(text);
  return typeof event === 'string' ? { is: 'broken', line, why: event } : clickOf(event, line);
});
