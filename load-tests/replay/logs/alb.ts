import { unixMs } from '../../../common/unix-time.ts';
import { eachLine } from '../click-lines.ts';
import type { LineResult, Reader } from '../line-result.ts';
import { type LogContext, presentText, readingOf, splitRequest } from './log-request.ts';

/** Type, time, load balancer, client, target, three durations, load balancer status, target status, two sizes, request, user agent. */
const LINE =
  /^(?:https?|h2|grpcs|wss?) (\d{4}-\d\d-\d\dT[\d:.]+Z) \S+ (\S+) \S+ \S+ \S+ \S+ (\d{3}|-) (\d{3}|-) \S+ \S+ "([^"]*)" "((?:[^"\\]|\\.)*)"/;

/** Whether a line is from the access log of an Application Load Balancer. */
export function isAlbLine(text: string): boolean {
  return LINE.test(text);
}

/**
 * Reads the access log of AWS' Application Load Balancer. Redirects of the load balancer itself, from http to https, have no target status and
 * are skipped. https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-access-logs.html
 *
 *     https 2026-01-31T12:00:00.186641Z app/lb/50dc 203.0.113.7:2817 10.0.0.1:80 0.000 0.001 0.000 302 302 34 366 "GET https://ads.example.com:443/c/… HTTP/2.0" "Mozilla/5.0 …" …
 */
export function albReader(context: LogContext): Reader {
  return eachLine((text, line) => readLine(text, line, context));
}

function readLine(text: string, line: number, context: LogContext): LineResult {
  const [, time, client, status, targetStatus, request, userAgent] = LINE.exec(text) ?? [];
  if (time === undefined || client === undefined || request === undefined)
    return { is: 'broken', line, why: 'Expected a line of the access log of a load balancer' };
  if (targetStatus === '-' && status?.startsWith('3'))
    return { is: 'skipped', line, why: 'redirected by the load balancer itself' };
  const logged = {
    ...splitRequest(request),
    clickedAt: unixMs(time) ?? Number.NaN,
    precisionMs: 1,
    status: Number(status),
    peer: client,
    forwardedFor: null,
    userAgent: presentText(userAgent),
    referrer: null,
  };
  return readingOf(logged, line, context);
}
