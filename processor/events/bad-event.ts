import { counted } from '../../common/counted.ts';
import { TollwayError } from '../../common/errors.ts';

/** An event that is not for this function, or not whole: nothing of it is taken, and its sender sends it again or tells of it. */
export function badEvent(functionName: string, field: string, expected: string, got: unknown): TollwayError {
  return new TollwayError(
    'bad_event',
    `${functionName}: ${field}: expected ${expected}, got ${inShort(got)}`,
  );
}

/** What came, short enough for a log, and without what a visitor sent. */
function inShort(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (Array.isArray(value)) return counted(value.length, 'element');
  if (typeof value === 'object' && value !== null) {
    const names = Object.keys(value);
    return names.length === 0 ? 'an empty object' : `an object with ${names.slice(0, 8).join(', ')}`;
  }
  return JSON.stringify(value)?.slice(0, 100) ?? typeof value;
}

/** Whether something is an object with fields. */
export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
