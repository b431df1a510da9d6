import { PAGE_POLICY } from '../../common/html-page.ts';
import type { Answer } from '../redirect/redirect.ts';
import type { ErrorPages } from './error-pages.ts';

/** An HTTP response. The headers are a flat list of names and values, the form that Node writes fastest. */
export type HttpAnswer = {
  readonly status: number;
  readonly headers: readonly string[];
  readonly body: Buffer;
};

const EMPTY = Buffer.alloc(0);

/** The HTTP response for an answer of the redirect, without `Content-Length`. */
export function httpAnswer(answer: Answer, { pages, policy }: ErrorPages): HttpAnswer {
  switch (answer.is) {
    case 'redirect':
      return {
        status: 302,
        headers: [
          'Location',
          answer.location,
          'Cache-Control',
          'no-store',
          'Tollway-Click',
          answer.clickId ?? 'none',
        ],
        body: EMPTY,
      };
    case 'page':
      return page(200, Buffer.from(answer.html), PAGE_POLICY);
    case 'not_found':
      return page(404, pages.notFound, policy);
    case 'unknown_ad':
      return page(503, pages.notReady, policy, ['Retry-After', '5']);
    case 'prefetch':
    case 'refused':
      return page(503, pages.unavailable, policy);
    case 'wrong_method':
      return page(405, pages.wrongMethod, policy, ['Allow', 'GET, HEAD']);
    default:
      return answer satisfies never;
  }
}

function page(status: number, body: Buffer, policy: string | null, more: readonly string[] = []): HttpAnswer {
  const headers = [
    'Content-Type',
    'text/html; charset=utf-8',
    'Cache-Control',
    'no-store',
    'Tollway-Click',
    'none',
    ...(policy === null ? [] : ['Content-Security-Policy', policy]),
    ...more,
  ];
  return { status, headers, body };
}
