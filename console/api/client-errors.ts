import type { Socket } from 'node:net';
import type { ErrorCode } from '../../common/error-codes.ts';
import { errorCode } from '../../common/errors.ts';
import { STATUS_CODES } from '../../common/node-http.ts';
import { PROBLEM_TYPE, problem } from './problem.ts';

/** What Node reports about bytes that are no request, by its codes. https://nodejs.org/api/http.html#event-clienterror */
const PROBLEMS: Readonly<Record<string, readonly [ErrorCode, string]>> = {
  HPE_HEADER_OVERFLOW: ['headers_too_large', 'Expected at most 16 KiB of URL and headers, got more'],
  ERR_HTTP_REQUEST_TIMEOUT: [
    'request_timeout',
    'Expected the headers within 10 s and the whole request within 30 s, got a part of it',
  ],
};

/** Answers bytes that Node cannot read as a request with problem details, and closes the connection. */
export function answerClientError(error: Error, socket: Socket): void {
  // The client may have gone already, or have got a part of another answer.
  if (!socket.writable || socket.bytesWritten > 0 || errorCode(error) === 'ECONNRESET') {
    socket.destroy();
    return;
  }
  const [code, detail] = PROBLEMS[errorCode(error) ?? ''] ?? [
    'bad_request',
    'Expected a request of HTTP/1.1, got other bytes',
  ];
  const body = problem(code, detail);
  const text = JSON.stringify(body);
  socket.end(
    [
      `HTTP/1.1 ${body.status} ${STATUS_CODES[body.status]}`,
      `content-type: ${PROBLEM_TYPE}; charset=utf-8`,
      `content-length: ${Buffer.byteLength(text)}`,
      'connection: close',
      '',
      text,
    ].join('\r\n'),
  );
}
