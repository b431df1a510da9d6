import { isIP } from 'node:net';
import type { VisitorAddress } from '../../../ad-server/http/visitor.ts';
import type { LineResult } from '../line-result.ts';

/** A request from a line of an access log, in a form common to all log formats. */
export type LoggedRequest = {
  /** Unix ms; NaN if the line has no valid time. */
  readonly clickedAt: number;
  /** Precision of the times in the log, in ms. */
  readonly precisionMs: number;
  readonly method: string;
  /** Path and query, or the whole URL. */
  readonly target: string;
  readonly status: number;
  /** The address of the connection, with or without its port; a host name counts as unknown. */
  readonly peer: string;
  /** `X-Forwarded-For`; `null` if the log does not have it. */
  readonly forwardedFor: string | null;
  readonly userAgent: string | null;
  readonly referrer: string | null;
};

/** Dependencies of the log readers. */
export type LogContext = {
  /** Finds the visitor's address behind trusted proxies. */
  readonly visitorAddress: VisitorAddress;
};

/** The ad server's status for a click. Another 3xx, such as a 301 from http to https, leads to a second request, which is logged too. */
const CLICK_STATUS = 302;
/** The path of a link, like in the ad server: also as an absolute URL (RFC 9112 §3.2.2), and with doubled slashes. */
const LINK_PATH = /^(?:https?:\/\/[^/?#]+)?(\/+c\/+[^/?#].*)$/i;

/** The path and query of a link, or `null` if the target is not a link. */
export function linkPathOf(target: string): string | null {
  return LINK_PATH.exec(target)?.[1] ?? null;
}

/** Classifies a logged request: a click if the ad server redirected a link, otherwise skipped or broken with a reason. */
export function readingOf(request: LoggedRequest, line: number, { visitorAddress }: LogContext): LineResult {
  const skipped = (why: string): LineResult => ({ is: 'skipped', line, why });
  const path = linkPathOf(request.target);
  if (path === null) return skipped('not a /c/… link');
  if (request.method !== 'GET') return skipped('not a GET');
  if (request.status !== CLICK_STATUS)
    return skipped(
      Math.trunc(request.status / 100) === 3
        ? `answered ${request.status}: a redirect, but not the ${CLICK_STATUS} of a click`
        : `answered ${request.status}`,
    );
  if (Number.isNaN(request.clickedAt))
    return { is: 'broken', line, why: 'Expected the time of the request with a zone, got none' };
  const peer = withoutPort(request.peer);
  const address = visitorAddress(peer, request.forwardedFor ?? undefined);
  return {
    is: 'request',
    line,
    clickedAt: request.clickedAt,
    precisionMs: request.precisionMs,
    path,
    userAgent: request.userAgent,
    referrer: request.referrer,
    address: address === '' ? null : address,
    visitor: address === '' ? request.peer : address,
    ignoredProxy: isIgnored(request.forwardedFor, peer, address) ? peer : null,
  };
}

/** Whether `X-Forwarded-For` has another address than the peer, but was ignored because the peer is not trusted. */
function isIgnored(forwardedFor: string | null, peer: string, address: string): boolean {
  if (forwardedFor === null || address === '' || address !== peer) return false;
  const named = forwardedFor.split(',').map((hop) => withoutPort(hop.trim()));
  return named.some((hop) => isIP(hop) !== 0 && hop !== peer);
}

/** `192.0.2.1:5678`, `[2001:db8::1]:5678` and `[2001:db8::1]` without the port and the brackets. */
export function withoutPort(text: string): string {
  if (isIP(text) !== 0) return text;
  const [, bracketed, plain] = /^\[([^\]]*)\](?::\d+)?$|^(.+):\d+$/.exec(text) ?? [];
  const address = bracketed ?? plain ?? text;
  return isIP(address) === 0 ? text : address;
}

/** A text of a log, or `null` for `-` and the empty text, which mean that there is no value. */
export function presentText(text: unknown): string | null {
  return typeof text !== 'string' || text === '-' || text === '' ? null : text;
}

/** Splits `GET /c/… HTTP/1.1`; the protocol can be missing (HTTP/0.9, some logs). Invalid requests give empty texts. */
export function splitRequest(request: string): { method: string; target: string } {
  const [method = '', target = ''] = request.split(' ');
  return { method, target };
}

const COMBINED_TIME = /^(\d\d)\/([A-Z][a-z]{2})\/(\d{4}):(\d\d:\d\d:\d\d) ([+-]\d\d)(\d\d)$/;
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/** Unix ms of a time such as `31/Jan/2026:12:00:00 +0000`, or NaN. */
export function combinedTimeMs(text: string): number {
  const [, day, name = '', year, time, hours, minutes] = COMBINED_TIME.exec(text) ?? [];
  const month = String(MONTHS.indexOf(name) + 1).padStart(2, '0');
  return Date.parse(`${year}-${month}-${day}T${time}${hours}:${minutes}`);
}
