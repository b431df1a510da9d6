import type { Answer } from '../redirect/redirect.ts';
import { pages } from './pages.ts';

/** What goes back to a browser. Headers as name, value, name, value: the form that Node writes fastest. */
export type HttpAnswer = {
  readonly status: number;
  readonly headers: readonly string[];
  readonly body: string;
};

/** An answer of the redirect as HTTP, without `Content-Length`. */
export function httpAnswer(answer: Answer): HttpAnswer {
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
        body: '',
      };
    case 'not_found':
      return page(404, pages.notFound);
    case 'unknown_ad':
      return page(503, pages.notYet, ['Retry-After', '5']);
    case 'prefetch':
    case 'refused':
      return page(503, pages.notNow);
    case 'wrong_method':
      return page(405, pages.wrongMethod, ['Allow', 'GET, HEAD']);
    default:
      return answer satisfies never;
  }
}

function page(status: number, html: string, more: readonly string[] = []): HttpAnswer {
  const headers = [
    'Content-Type',
    'text/html; charset=utf-8',
    'Cache-Control',
    'no-store',
    'Tollway-Click',
    'none',
  ];
  return { status, headers: [...headers, ...more], body: html };
}
