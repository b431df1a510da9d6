import { counted } from '../../common/counted.ts';
import { TollwayError } from '../../common/errors.ts';
import { sleep } from '../../common/process.ts';
import type { LinkSigner } from '../../contract/link-token.ts';
import { evergreenLink, impressionLink } from '../../contract/link-token.ts';
import { isPublisher } from '../../contract/publisher.ts';
import { areSubIds } from '../../contract/sub-ids.ts';
import { ANSWER_MS_MAX, type HttpTarget } from '../load/http-target.ts';
import { createMicrosHistogram, type MicrosHistogram, recordMs } from '../load/micros-histogram.ts';
import { countFailure, UNDER_WAY_MAX } from '../load/offer-load.ts';
import { BROWSER_HEADERS } from '../load/traffic.ts';
import type { ClickIdFile } from './click-id-file.ts';
import type { RecordedClick } from './line-result.ts';
import type { Sink, Speed } from './pacing.ts';

/** Limit of concurrent requests at `--speed max`. */
const FULL_SPEED_REQUESTS_MAX = 200;
/** Limit of kept connections. Each is opened when it is first needed. */
export const CONNECTIONS_MAX = 500;
const LINK_LIFE_MS = 86_400_000;

/** The counts of the results of requests. */
export type HttpCounts = {
  recorded: number;
  /** Redirected with `Tollway-Click: none`: not recorded. */
  unrecorded: number;
  failed: number;
  /** Not sent, because too many requests were under way. */
  shed: number;
  underWay: number;
  readonly failures: Map<string, number>;
  /** Time from the due time of a click to its answer, in µs. */
  readonly latencyMicros: MicrosHistogram;
};

export type HttpReplayTarget = Sink & {
  readonly counts: HttpCounts;
  /** Resolves when all requests are answered, or after a timeout. */
  readonly finish: () => Promise<void>;
};

/**
 * A replay target that requests links from the ad server, which makes new clicks. For a click event it signs a new link to the ad, with the
 * publisher and the sub-ids of the event; a request of a log is sent again.
 */
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
  let onAnswer: () => void = () => {};

  const send = (click: RecordedClick, dueAt: number) => {
    counts.underWay += 1;
    const arrival = {
      kind: 'fresh',
      path: pathOf(click, sign),
      headers: headersOf(click),
      onNewConnection: false,
    } as const;
    target.click(arrival, (result) => {
      counts.underWay -= 1;
      onAnswer();
      if (result.is === 'recorded' || result.is === 'unrecorded')
        recordMs(counts.latencyMicros, performance.now() - dueAt);
      if (result.is === 'recorded') {
        counts.recorded += 1;
        ids.add(result.clickId);
      } else if (result.is === 'unrecorded') counts.unrecorded += 1;
      else {
        counts.failed += 1;
        countFailure(counts.failures, result.is === 'failed' ? result.reason : 'refused');
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
      send(click, dueAt);
      if (speed !== 'max' || counts.underWay < FULL_SPEED_REQUESTS_MAX) return;
      return new Promise((resolve) => {
        onAnswer = resolve;
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
 * Checks by `HEAD`, which is not a click, that the ad server accepts at least one of the first links. If it rejects all of them, it probably
 * has other keys. Throws `target_unreachable`, `keys_differ`.
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
  const message = `${url} answers 404 to each of the first ${counted(samples.length, 'link')}: expected an ad server with the LINK_KEYS that signed them`;
  throw new TollwayError('keys_differ', message);
}

function pathOf(click: RecordedClick, sign: LinkSigner | null): string {
  if (click.is === 'request') return click.path;
  if (sign === null) throw new Error('Expected a signer for click events');
  // A click without a nonce came from an evergreen link.
  const publisher = isPublisher(click.event.publisher) ? click.event.publisher : null;
  const link =
    click.event.nonce === null
      ? evergreenLink(click.adId, publisher)
      : impressionLink(click.adId, LINK_LIFE_MS, publisher);
  const { subIds } = click.event;
  const query = areSubIds(subIds) ? `?${new URLSearchParams(Object.entries(subIds))}` : '';
  return `/c/${sign(link)}${query}`;
}

/** The headers of the recorded visitor. The ad server uses the address only if TRUSTED_PROXIES contains this machine. */
function headersOf(click: RecordedClick): Record<string, string> {
  const { userAgent, referrer, address } = click.is === 'request' ? click : visitorOf(click.event);
  const { 'user-agent': browser, ...others } = BROWSER_HEADERS;
  // A missing user agent in a log means that the request had none. An export never has user agents, so a browser's is sent.
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

/** The text with characters that a header cannot have (RFC 9110 §5.5) replaced by `?`. */
function printable(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, '?').trim();
}
