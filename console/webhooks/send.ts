import type { LookupOptions } from 'node:dns';
import { Webhook } from 'standardwebhooks';
import { errorCode, errorMessage, TollwayError } from '../../common/errors.ts';
import { sleep } from '../../common/process.ts';
import { printable } from '../../common/text.ts';
import { readVersion } from '../../common/version.ts';
import type { AttemptOutcome, WebhookTarget } from '../../ledger/webhooks/dispatch.ts';
import { parseWebhookUrl, type TargetRule } from '../../ledger/webhooks/target-url.ts';
import { type Address, checkedAddresses, type Resolve } from './address-check.ts';
import { parseRetryAfter } from './retry-schedule.ts';

/** Longest time of one attempt, from the look-up of the name to the end of the answer, in ms. */
export const ATTEMPT_MS_MAX = 10_000;
/** Bytes of an answer that are read and thrown away. A longer answer ends with its connection. */
const ANSWER_BYTES_MAX = 65_536;
/** Bytes of the header of an answer. */
const ANSWER_HEADER_BYTES_MAX = 16_384;
const ERROR_CHARS_MAX = 500;

/** What is sent: the same bytes and the same id in every attempt. */
export type Message = { readonly id: string; readonly body: string };

export type SendResult = AttemptOutcome & {
  /** Time that the target asked to wait, in ms. */
  readonly retryAfterMs: number | null;
};

export type SendOptions = {
  readonly rule: TargetRule;
  readonly resolve: Resolve;
  /** Ends the attempt at once, as a failure. */
  readonly signal: AbortSignal;
  /** Default: {@link ATTEMPT_MS_MAX}. */
  readonly msMax?: number;
};

/**
 * Sends a message to a target once, signed as the Standard Webhooks specification defines, and returns what came of it. Never rejects.
 * https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
 */
export async function send(
  target: WebhookTarget,
  message: Message,
  { rule, resolve, signal, msMax = ATTEMPT_MS_MAX }: SendOptions,
): Promise<SendResult> {
  const startedAt = performance.now();
  const timeout = AbortSignal.timeout(msMax);
  const ending = AbortSignal.any([signal, timeout]);
  try {
    const url = new URL(parseWebhookUrl(target.url, rule));
    const addresses = await orAborted(checkedAddresses(url, rule, resolve), ending);
    const answer = await post(
      url,
      addresses,
      { headers: headersOf(target, message), body: message.body },
      ending,
    );
    return { ...answer, durationMs: performance.now() - startedAt };
  } catch (error) {
    const text = timeout.aborted ? `No answer within ${msMax / 1_000} s` : describe(error);
    const failed = { statusCode: null, error: printable(text.slice(0, ERROR_CHARS_MAX)), retryAfterMs: null };
    return { ...failed, durationMs: performance.now() - startedAt };
  }
}

function headersOf({ secrets }: WebhookTarget, { id, body }: Message): Record<string, string> {
  const at = new Date();
  return {
    'content-type': 'application/json',
    'user-agent': `Tollway/${readVersion()}`,
    'webhook-id': id,
    'webhook-timestamp': String(Math.floor(at.getTime() / 1_000)),
    'webhook-signature': secrets.map((secret) => new Webhook(secret).sign(id, at, body)).join(' '),
  };
}

/** Each attempt has a connection of its own, to one of the addresses that were checked. */
async function post(
  url: URL,
  addresses: readonly Address[],
  request: { headers: Record<string, string>; body: string },
  signal: AbortSignal,
): Promise<Omit<SendResult, 'durationMs'>> {
  // Loaded here, because its hundred modules are a sixth of what a console loads to start.
  const { Client } = await import('undici');
  const client = new Client(url.origin, {
    connect: { lookup: lookupOf(addresses), timeout: ATTEMPT_MS_MAX },
    autoSelectFamily: true,
    maxHeaderSize: ANSWER_HEADER_BYTES_MAX,
  });
  try {
    const path = url.pathname + url.search;
    const { statusCode, headers, body } = await client.request({ ...request, path, method: 'POST', signal });
    // The status decides. What breaks while the rest is thrown away does not matter.
    await body.dump({ limit: ANSWER_BYTES_MAX, signal }).catch(() => {});
    const retryAfter = headers['retry-after'];
    return {
      statusCode,
      error: problemOf(statusCode),
      retryAfterMs: parseRetryAfter(Array.isArray(retryAfter) ? retryAfter[0] : retryAfter, Date.now()),
    };
  } finally {
    await client.destroy();
  }
}

type LookupCallback = (error: null, address: string | Address[], family?: number) => void;

/** A `lookup` of Node's sockets that knows these addresses only, whatever the name. */
function lookupOf(addresses: readonly Address[]) {
  return (_hostname: string, { all }: LookupOptions, callback: LookupCallback): void => {
    if (all) return callback(null, [...addresses]);
    const [first] = addresses;
    if (!first) throw new Error('Expected a checked address, got none');
    callback(null, first.address, first.family);
  };
}

function problemOf(statusCode: number): string | null {
  if (statusCode >= 200 && statusCode < 300) return null;
  const expected = `Expected a status of 200–299, got ${statusCode}`;
  if (statusCode >= 300 && statusCode < 400)
    return `${expected}: redirects are not followed. Change the URL of the webhook`;
  return expected;
}

function describe(error: unknown): string {
  if (error instanceof TollwayError) return error.message;
  const code = errorCode(error);
  const message = errorMessage(error);
  return code === undefined || message.includes(code) ? message : `${message} (${code})`;
}

/** Waits for work that cannot be cancelled, but no longer than until the signal. */
async function orAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const stopWaiting = new AbortController();
  const aborted = sleep(2 * ATTEMPT_MS_MAX, AbortSignal.any([signal, stopWaiting.signal]));
  work.catch(() => {});
  try {
    return await Promise.race([
      work,
      aborted.then(() => {
        throw new Error('The attempt was stopped');
      }),
    ]);
  } finally {
    stopWaiting.abort();
  }
}
