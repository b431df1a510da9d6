const SECOND_MS = 1_000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;

/** Pauses after the first, second, … failed attempt of a delivery, in ms. The last one repeats until three days have passed. */
export const DELIVERY_PAUSES_MS = [
  5 * SECOND_MS,
  30 * SECOND_MS,
  2 * MINUTE_MS,
  10 * MINUTE_MS,
  30 * MINUTE_MS,
  HOUR_MS,
] as const;

/** Failed rounds after which a webhook waits as a whole. */
export const FAILURES_BEFORE_PAUSE = 2;
/** Pauses of a webhook as a whole, in ms. The last one repeats. */
export const WEBHOOK_PAUSES_MS = [30 * SECOND_MS, 2 * MINUTE_MS, 5 * MINUTE_MS] as const;

/** Longest `Retry-After` that is honoured, in ms. */
export const RETRY_AFTER_MS_MAX = HOUR_MS;
/** A pause differs from its value by at most this share, so that retries of many deliveries spread. */
const JITTER = 0.1;

function jittered(pauses: readonly number[], index: number): number {
  const pause = pauses[Math.min(index, pauses.length - 1)] ?? 0;
  return pause * (1 + JITTER * (2 * Math.random() - 1));
}

/**
 * The times until the next attempts after a failure, in ms. `attempts`: those of the delivery, `failures`: consecutive failed rounds of the
 * webhook, both with this one. `retryAfterMs`: what the target asked for; it delays the whole webhook, by at most an hour.
 */
export function pausesAfter(
  attempts: number,
  failures: number,
  retryAfterMs: number | null,
): { delayMs: number; webhookDelayMs: number } {
  const requestedMs = Math.min(retryAfterMs ?? 0, RETRY_AFTER_MS_MAX);
  const whole =
    failures < FAILURES_BEFORE_PAUSE ? 0 : jittered(WEBHOOK_PAUSES_MS, failures - FAILURES_BEFORE_PAUSE);
  return {
    delayMs: Math.max(requestedMs, jittered(DELIVERY_PAUSES_MS, attempts - 1)),
    webhookDelayMs: Math.max(requestedMs, whole),
  };
}

/**
 * The value of a `Retry-After` header as ms from `nowMs`: seconds, or an HTTP date. `null` if it is missing, in the past or neither.
 * https://www.rfc-editor.org/rfc/rfc9110#field.retry-after
 */
export function parseRetryAfter(value: string | undefined, nowMs: number): number | null {
  if (value === undefined) return null;
  const text = value.trim();
  if (/^\d{1,9}$/.test(text)) return Number(text) * SECOND_MS;
  const time = /^[A-Z][a-z]{2}, .* GMT$/.test(text) ? Date.parse(text) : Number.NaN;
  return time > nowMs ? time - nowMs : null;
}
