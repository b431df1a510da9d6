import { STATUS_CODES } from '../../../common/node-http.ts';
import type { Answer } from '../../redirect/redirect.ts';
import { httpAnswer } from '../answers.ts';
import type { ErrorPages } from '../error-pages.ts';

/** The bytes of a response; a text is ASCII. */
export type AnswerBytes = string | Buffer;

/** The response to a plain request for an answer of the redirect, byte for byte as node:http sends it. */
export function answerBytes(answer: Answer, errorPages: ErrorPages): AnswerBytes {
  if (answer.is === 'redirect') return redirectText(answer.location, answer.clickId ?? 'none');
  const { status, headers, body } = httpAnswer(answer, errorPages);
  let head = `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n`;
  for (let index = 0; index < headers.length; index += 2)
    head += `${headers[index]}: ${headers[index + 1]}\r\n`;
  head += `Content-Length: ${body.length}\r\nDate: ${currentDate()}\r\nConnection: keep-alive\r\n\r\n`;
  return Buffer.concat([Buffer.from(head, 'latin1'), body]);
}

/** What a header must not contain. No header of Tollway has other characters than those of ASCII. */
const NOT_IN_HEADER = /[^\x20-\x7e]/;

/** The response of nearly every click. Throws if the location is not valid in a header, as node:http does. */
function redirectText(location: string, clickId: string): string {
  if (NOT_IN_HEADER.test(location))
    throw new Error(`Expected a location that is valid in a header, got ${JSON.stringify(location)}`);
  return (
    `HTTP/1.1 302 Found\r\nLocation: ${location}\r\nCache-Control: no-store\r\nTollway-Click: ${clickId}\r\n` +
    `Content-Length: 0\r\nDate: ${currentDate()}\r\nConnection: keep-alive\r\n\r\n`
  );
}

let dateSecond = -1;
let date = '';

/** The value of the header Date, which has whole seconds (RFC 9110 §5.6.7). */
function currentDate(): string {
  const nowMs = Date.now();
  const second = Math.floor(nowMs / 1_000);
  if (second !== dateSecond) {
    dateSecond = second;
    date = new Date(nowMs).toUTCString();
  }
  return date;
}
