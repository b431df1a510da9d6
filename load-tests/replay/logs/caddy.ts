import { unixMs } from '../../../common/unix-time.ts';
import { isObject } from '../../../processor/events/bad-event.ts';
import { eachLine, parseObject } from '../click-lines.ts';
import type { LineResult, Reader } from '../line-result.ts';
import { type LogContext, presentText, readingOf } from './log-request.ts';

/** Whether an object is from the access log of Caddy. */
export function isCaddyObject(row: Readonly<Record<string, unknown>>): boolean {
  return isObject(row.request) && typeof row.request.uri === 'string' && 'status' in row;
}

/**
 * Reads the access log of Caddy. `client_ip` is the visitor's address after Caddy's own `trusted_proxies`; older versions only log `remote_ip`.
 * https://caddyserver.com/docs/caddyfile/directives/log
 *
 *     {"ts":1769860800.1,"logger":"http.log.access","request":{"remote_ip":"203.0.113.7","method":"GET","uri":"/c/…","headers":{"User-Agent":["Mozilla/5.0 …"]}},"status":302}
 */
export function caddyReader(context: LogContext): Reader {
  return eachLine((text, line) => {
    const row = parseObject(text);
    if (typeof row === 'string') return { is: 'broken', line, why: row };
    return readRow(row, line, context);
  });
}

function readRow(row: Record<string, unknown>, line: number, context: LogContext): LineResult {
  const { request, status, ts } = row;
  if (!isCaddyObject(row) || !isObject(request))
    return { is: 'skipped', line, why: 'another message of Caddy, not a request' };
  const header = (name: string) => {
    const values = isObject(request.headers) ? request.headers[name] : undefined;
    return Array.isArray(values) && values.length > 0 ? values.join(', ') : null;
  };
  const peer = [request.client_ip, request.remote_ip, request.remote_addr].map(presentText).find(Boolean);
  const logged = {
    clickedAt: unixMs(ts) ?? Number.NaN,
    precisionMs: 1,
    method: String(request.method),
    target: String(request.uri),
    status: Number(status),
    peer: peer ?? '',
    forwardedFor: header('X-Forwarded-For'),
    userAgent: header('User-Agent'),
    referrer: header('Referer'),
  };
  return readingOf(logged, line, context);
}
