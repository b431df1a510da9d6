import { counted } from '../../common/counted.ts';
import { TollwayError } from '../../common/errors.ts';
import { sleep } from '../../common/process.ts';
import type { LinkSigner } from '../../contract/link-token.ts';
import { evergreenLink, impressionLink } from '../../contract/link-token.ts';
import { ANSWER_MS_MAX, type HttpTarget } from '../load/http-target.ts';
import { createMicrosHistogram, type MicrosHistogram, recordMs } from '../load/micros-histogram.ts';
import { countFailure, UNDER_WAY_MAX } from '../load/offer-load.ts';
import { BROWSER_HEADERS } from '../load/traffic.ts';
import type { ClickIdFile } from './click-id-file.ts';
import type { Sink, Speed } from './pacing.ts';
import type { RecordedClick } from './reading.ts';

/** Requests under way at full speed. */
const FULL_SPEED_REQUESTS_MAX = 200;
/** Connections that are kept, each opened when it is first needed. */
export const CONNECTIONS_MAX = 500;
const LINK_LIFE_MS = 86_400_000;

/** What became of the requests. */
export type HttpCounts = {
  recorded: number;
  /** Redirected, and said that nothing was recorded. */
  unrecorded: number;
  failed: number;
  /** Not sent: too many were under way. */
  shed: number;
  underWay: number;
  readonly failures: Map<string, number>;
  /** From when a click was due to its answer, in µs. */
  readonly latencyMicros: MicrosHistogram;
};

export type HttpReplayTarget = Sink & {
  readonly counts: HttpCounts;
  /** Resolves when all are answered, or none will be any more. */
  readonly finish: () => Promise<void>;
};

/** The way of the visitors: requests of links, which are new clicks. A recorded click is clicked by a fresh link to its ad. */
export function createHttpReplayTarget(
  target: HttpTarget,
  { sign, speed, ids }: { sign: LinkSigner | null; speed: Speed; ids: ClickIdFile },
): HttpReplayTarget {
  const counts: HttpCounts = {
    recorded: 0,
    unrecorded: 0,
    failed: 0,
    shed: 0,
    underWay: 0,
    failures: new Map(),
    latencyMicros: createMicrosHistogram(),
  };
  let room: () => void = () => {};

  const begin = (click: RecordedClick, dueAt: number) => {
    counts.underWay += 1;
    const arrival = {
      kind: 'fresh',
      path: pathOf(click, sign),
      headers: headersOf(click),
      onNewConnection: false,
    } as const;
    target.click(arrival, (answered) => {
      counts.underWay -= 1;
      room();
      if (answered.is === 'recorded' || answered.is === 'unrecorded')
        recordMs(counts.latencyMicros, performance.now() - dueAt);
      if (answered.is === 'recorded') {
        counts.recorded += 1;
        ids.add(answered.clickId);
      } else if (answered.is === 'unrecorded') counts.unrecorded += 1;
      else {
        counts.failed += 1;
        countFailure(counts.failures, answered.is === 'failed' ? answered.reason : 'refused');
      }
    });
  };
  return {
    counts,
    take: (click, dueAt) => {
      if (counts.underWay >= UNDER_WAY_MAX) {
        counts.shed += 1;
        return;
      }
      begin(click, dueAt);
      if (speed !== 'max' || counts.underWay < FULL_SPEED_REQUESTS_MAX) return;
      return new Promise((resolve) => {
        room = resolve;
      });
    },
    pause: () => {},
    finish: async () => {
      const deadline = performance.now() + 2 * ANSWER_MS_MAX;
      while (counts.underWay > 0 && performance.now() < deadline) await sleep(5);
    },
  };
}

/**
 * Asks by `HEAD`, which is no click, for the first clicks of a file: if all of them are unknown, so are probably the others.
 * Throws `target_unreachable`, `keys_differ`.
 */
export async function assertTakesLinks(
  target: HttpTarget,
  url: string,
  samples: readonly RecordedClick[],
  sign: LinkSigner | null,
): Promise<void> {
  for (const sample of samples) {
    if ((await target.probe(pathOf(sample, sign))) !== 404) return;
  }
  const message = `${url} answers 404 to each of the first ${counted(samples.length, 'link')}: expected an ad server with the LINK_KEYS that they are signed with`;
  throw new TollwayError('keys_differ', message);
}

function pathOf(click: RecordedClick, sign: LinkSigner | null): string {
  if (click.is === 'request') return click.path;
  if (sign === null) throw new Error('Expected a signer for click events');
  // One that says that it came by an evergreen link comes by one again.
  const link =
    click.event.nonce === null ? evergreenLink(click.adId) : impressionLink(click.adId, LINK_LIFE_MS);
  return `/c/${sign(link)}`;
}

/** The visitor as recorded; the address is believed where this machine is one of TRUSTED_PROXIES. */
function headersOf(click: RecordedClick): Record<string, string> {
  const { userAgent, referrer, address } = click.is === 'request' ? click : visitorOf(click.event);
  const { 'user-agent': browser, ...others } = BROWSER_HEADERS;
  // A log that knows no user agent says that there was none; an export never knows one.
  const agent = userAgent ?? (click.is === 'request' ? null : browser);
  return {
    ...others,
    ...(agent === null ? {} : { 'user-agent': printable(agent) }),
    ...(referrer === null ? {} : { referer: printable(referrer) }),
    ...(address === null ? {} : { 'x-forwarded-for': printable(address) }),
  };
}

function visitorOf({ userAgent, referrerHost, visitorNetwork }: Readonly<Record<string, unknown>>) {
  return {
    userAgent: typeof userAgent === 'string' ? userAgent : null,
    referrer: typeof referrerHost === 'string' ? `https://${referrerHost}/` : null,
    address: typeof visitorNetwork === 'string' ? (visitorNetwork.split('/')[0] ?? null) : null,
  };
}

/** What a header may hold; a log, or a file, may hold anything. RFC 9110 §5.5 */
function printable(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, '?').trim();
}
