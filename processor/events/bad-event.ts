import { counted } from '../../common/counted.ts';
import { TollwayError } from '../../common/errors.ts';

/** The error of an event that is not for this function or is incomplete. Nothing of it is charged; the sender must retry or report it. */
export function badEvent(functionName: string, field: string, expected: string, got: unknown): TollwayError {
  return new TollwayError(
    'bad_event',
    `${functionName}: ${field}: expected ${expected}, got ${describe(got)}`,
  );
}

/** Describes a value, short enough for a log and without data of visitors. */
function describe(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (Array.isArray(value)) return counted(value.length, 'element');
  if (typeof value === 'object' && value !== null) {
    const names = Object.keys(value);
    return names.length === 0 ? 'an empty object' : `an object with ${names.slice(0, 8).join(', ')}`;
  }
  return JSON.stringify(value)?.slice(0, 100) ?? typeof value;
}

/** Whether a value is an object and not an array. */
export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
