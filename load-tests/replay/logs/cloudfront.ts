import { counted } from '../../../common/counted.ts';
import { unixMs } from '../../../common/unix-time.ts';
import { CLICK_BYTES_MAX } from '../../../contract/click-event.ts';
import { tooLong } from '../click-lines.ts';
import type { LineResult, Reader } from '../line-result.ts';
import { type LogContext, presentText, readingOf } from './log-request.ts';

const FIELDS = '#Fields:';

/** Whether a line is one of the two header lines of CloudFront's log files. */
export function isCloudFrontLine(text: string): boolean {
  return /^#Version: 1\.0\s*$/.test(text) || text.startsWith(FIELDS);
}

/**
 * Reads CloudFront's standard log: fields separated by tabs, in the order of its `#Fields` line.
 * https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/standard-logs-reference.html
 *
 *     #Fields: date time c-ip cs-method cs-uri-stem sc-status cs(Referer) cs(User-Agent) cs-uri-query
 *     2026-01-31	12:00:00	203.0.113.7	GET	/c/…	302	-	Mozilla/5.0%20…	-
 */
export function cloudFrontReader(context: LogContext): Reader {
  return async function* (lines) {
    let names: string[] = [];
    let number = 0;
    for await (const bytes of lines) {
      number += 1;
      const text = bytes.toString();
      if (text.startsWith(FIELDS)) names = text.slice(FIELDS.length).trim().split(/\s+/);
      if (text === '' || text.startsWith('#')) continue;
      yield bytes.length > CLICK_BYTES_MAX ? tooLong(number) : readLine(text, names, number, context);
    }
  };
}

function readLine(text: string, names: readonly string[], line: number, context: LogContext): LineResult {
  const values = text.split('\t');
  if (names.length === 0) return { is: 'broken', line, why: 'Expected a #Fields line before this line' };
  if (values.length !== names.length) {
    const why = `Expected ${counted(names.length, 'field')} separated by tabs, got ${values.length}`;
    return { is: 'broken', line, why };
  }
  const field = (name: string) => presentText(values[names.indexOf(name)]);
  // A redirect from http to https by CloudFront itself.
  if (field('x-edge-result-type') === 'Redirect')
    return { is: 'skipped', line, why: 'redirected by CloudFront itself' };
  const query = field('cs-uri-query');
  const logged = {
    clickedAt: unixMs(`${field('date')}T${field('time')}Z`) ?? Number.NaN,
    precisionMs: 1_000,
    method: field('cs-method') ?? '',
    target: `${field('cs-uri-stem') ?? ''}${query === null ? '' : `?${query}`}`,
    status: Number(field('sc-status')),
    peer: field('c-ip') ?? '',
    forwardedFor: decoded(field('x-forwarded-for')),
    userAgent: decoded(field('cs(User-Agent)')),
    referrer: decoded(field('cs(Referer)')),
  };
  return readingOf(logged, line, context);
}

/** Decodes a field. CloudFront percent-encodes some characters; older logs also encode the percent signs. */
function decoded(text: string | null): string | null {
  if (text === null) return null;
  const plain = text.replaceAll('%25', '%');
  try {
    return decodeURIComponent(plain);
  } catch {
    return plain;
  }
}
