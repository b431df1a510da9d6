import { unixMs } from '../../../common/unix-time.ts';
import { eachLine, parseObject } from '../click-lines.ts';
import type { LineResult, Reader } from '../line-result.ts';
import { combinedTimeMs, type LogContext, presentText, readingOf, splitRequest } from './log-request.ts';

/** The usual field names for nginx's variables, with the name of the variable first. */
const NAMES = {
  time: ['time_iso8601', 'msec', 'time', 'time_local', '@timestamp', 'timestamp', 'ts'],
  peer: ['remote_addr', 'client_ip', 'clientip', 'remote_ip', 'client'],
  forwardedFor: ['http_x_forwarded_for', 'x_forwarded_for'],
  request: ['request'],
  method: ['request_method', 'method'],
  target: ['request_uri', 'uri', 'url'],
  status: ['status'],
  referrer: ['http_referer', 'http_referrer', 'referer', 'referrer'],
  userAgent: ['http_user_agent', 'user_agent', 'agent'],
} as const;

type Row = Readonly<Record<string, unknown>>;

/** Whether an object is from a JSON log of nginx: it has a status, and a request as text. */
export function isNginxObject(row: Row): boolean {
  const request = fieldOf(row, 'request') ?? fieldOf(row, 'target');
  return 'status' in row && typeof request === 'string';
}

/**
 * Reads nginx's log in a custom `log_format … escape=json`, by the usual names of its fields.
 * https://nginx.org/en/docs/http/ngx_http_log_module.html#log_format
 *
 *     {"time":"2026-01-31T12:00:00+00:00","remote_addr":"203.0.113.7","request":"GET /c/… HTTP/1.1","status":302,"http_user_agent":"Mozilla/5.0 …"}
 */
export function nginxJsonReader(context: LogContext): Reader {
  return eachLine((text, line) => {
    // Without `escape=json`, nginx writes \xHH, which is not valid JSON.
    const row = parseObject(text.replaceAll(/\\x([0-9A-F]{2})/g, '\\u00$1'));
    return typeof row === 'string' ? { is: 'broken', line, why: row } : readRow(row, line, context);
  });
}

function readRow(row: Row, line: number, context: LogContext): LineResult {
  const text = (name: keyof typeof NAMES) => presentText(fieldOf(row, name));
  if (!isNginxObject(row))
    return { is: 'broken', line, why: 'Expected request (or request_uri) and status of nginx' };
  const time = fieldOf(row, 'time');
  const ms = unixMs(time) ?? combinedTimeMs(String(time));
  const request = text('request');
  const logged = {
    ...(request === null
      ? { method: text('method') ?? '', target: text('target') ?? '' }
      : splitRequest(request)),
    clickedAt: ms,
    precisionMs: ms % 1_000 === 0 ? 1_000 : 1,
    status: Number(fieldOf(row, 'status')),
    peer: text('peer') ?? '',
    forwardedFor: text('forwardedFor'),
    userAgent: text('userAgent'),
    referrer: text('referrer'),
  };
  return readingOf(logged, line, context);
}

function fieldOf(row: Row, name: keyof typeof NAMES): unknown {
  const key = NAMES[name].find((known) => row[known] !== undefined);
  return key === undefined ? undefined : row[key];
}
