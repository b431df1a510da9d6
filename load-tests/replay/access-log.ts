import { tokenOf } from '../../ad-server/redirect.ts';
import { eachLine } from './click-lines.ts';
import type { Reader, Reading } from './reading.ts';

/**
 * The combined format, and the common one, which is its beginning; a virtual host before it, as Apache's `vhost_combined` has it,
 * and what is added behind are passed over. What follows a virtual host looks like an address; an IPv6 address may look like one. https://httpd.apache.org/docs/2.4/logs.html#combined
 */
const LINE =
  /^(?:\S+:\d+ (?=[^\s.:]*[.:]))?(\S+) \S+ .*?\[(\d\d\/[A-Z][a-z]{2}\/\d{4}:\d\d:\d\d:\d\d [+-]\d{4})\] "((?:[^"\\]|\\.)*)" (\d{3}) (?:\d+|-)(?: "((?:[^"\\]|\\.)*)" "((?:[^"\\]|\\.)*)")?/;
const TIME = /^(\d\d)\/([A-Z][a-z]{2})\/(\d{4}):(\d\d:\d\d:\d\d) ([+-]\d\d)(\d\d)$/;
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/** Whether a line is one of an access log. */
export function isLogLine(text: string): boolean {
  return LINE.test(text);
}

/** The access log of nginx or Apache: the redirected requests of `/c/…` links in it. All others are no clicks. */
export const readAccessLog: Reader = eachLine(readLogLine);

function readLogLine(text: string, line: number): Reading {
  const [, address = '', time = '', request = '', status = '', referrer, userAgent] = LINE.exec(text) ?? [];
  const broken = (why: string): Reading => ({ is: 'broken', line, why });
  const skipped = (why: string): Reading => ({ is: 'skipped', line, why });
  if (request === '') return broken('Expected a line of a combined access log');
  const clickedAt = timeOfLog(time);
  if (Number.isNaN(clickedAt))
    return broken(`Expected a time such as 31/Jan/2026:12:00:00 +0000, got ${time}`);
  const [method = '', target = ''] = unescaped(request).split(' ');
  const token = tokenOf(target);
  if (token === null) return skipped('not a /c/… link');
  if (method !== 'GET') return skipped('not a GET');
  // A prefetch, a forged link, a full spool: nobody was sent on, so nobody has clicked.
  if (!status.startsWith('3')) return skipped(`answered ${status}`);
  return {
    is: 'request',
    line,
    clickedAt,
    path: target.startsWith('/') ? target : `/c/${token}`,
    token,
    userAgent: told(userAgent),
    referrer: told(referrer),
    address,
  };
}

/** Unix ms, or NaN. */
function timeOfLog(text: string): number {
  const [, day, name = '', year, time, hours, minutes] = TIME.exec(text) ?? [];
  const month = String(MONTHS.indexOf(name) + 1).padStart(2, '0');
  return Date.parse(`${year}-${month}-${day}T${time}${hours}:${minutes}`);
}

function told(text: string | undefined): string | null {
  return text === undefined || text === '-' || text === '' ? null : unescaped(text);
}

/** nginx writes `\xHH` for what would break the line, Apache a backslash before it too. */
function unescaped(text: string): string {
  if (!text.includes('\\')) return text;
  return text.replace(/\\(?:x([0-9A-Fa-f]{2})|(.))/g, (_, hex?: string, character?: string) =>
    hex === undefined ? (character ?? '') : String.fromCharCode(Number.parseInt(hex, 16)),
  );
}
