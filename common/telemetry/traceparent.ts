/** A `traceparent` of version 00. Ids that are all zeros are invalid. */
const TRACEPARENT = /^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/;
/** The beginning of a `traceparent` of a later version; ff is no version. */
const LATER_VERSION = /^(?!00|ff)[0-9a-f]{2}-/;
/** Length of a `traceparent` of version 00, in characters. */
export const TRACEPARENT_LENGTH = 55;

/** Whether a value is a `traceparent` of version 00, in lower case. https://www.w3.org/TR/trace-context/#traceparent-header */
export function isTraceparent(value: unknown): value is string {
  return typeof value === 'string' && value.length === TRACEPARENT_LENGTH && TRACEPARENT.test(value);
}

/**
 * Reads the header `traceparent` of a request. Returns it in version 00, or `null` if it is invalid. Of a later version it reads the ids and
 * the flag `sampled`, as the standard requires: https://www.w3.org/TR/trace-context/#versioning-of-traceparent
 */
export function readTraceparent(header: unknown): string | null {
  if (isTraceparent(header)) return header;
  if (typeof header !== 'string' || !LATER_VERSION.test(header)) return null;
  const end = header.charAt(TRACEPARENT_LENGTH);
  const read = `00${header.slice(2, TRACEPARENT_LENGTH)}`;
  if ((end !== '' && end !== '-') || !isTraceparent(read)) return null;
  return `${read.slice(0, -2)}${isSampled(read) ? '01' : '00'}`;
}

/** Whether the sender of a valid `traceparent` has recorded its span. */
export function isSampled(traceparent: string): boolean {
  return (Number.parseInt(traceparent.slice(-2), 16) & 1) === 1;
}
