import type { APIGatewayProxyStructuredResultV2 } from 'aws-lambda';
import { elapsedMs, moment } from '../../common/elapsed.ts';
import { readHttpEvent } from './http-event.ts';
import type { RedirectFunction } from './redirect-function.ts';

const name = 'lambda-redirect';
/** Sleep after which connections are not trusted any more, in ms: a frozen function does not notice that they broke. */
const SLEEP_MS_MAX = 60_000;
let opening: Promise<RedirectFunction> | null = null;
let lastAt = moment();

/** Redirects a click, behind an HTTP API or a function URL. */
export async function handler(event: unknown): Promise<APIGatewayProxyStructuredResultV2> {
  const request = readHttpEvent(name, event);
  const { answer } = await opened();
  const { status, headers, body } = await answer(request);
  lastAt = moment();
  const named: Record<string, string> = {};
  for (let at = 0; at + 1 < headers.length; at += 2) named[headers[at] ?? ''] = headers[at + 1] ?? '';
  return { statusCode: status, headers: named, body: request.method === 'HEAD' ? '' : body.toString() };
}

/** Opened by the first click, and anew after a long sleep or a changed password. */
async function opened(): Promise<RedirectFunction> {
  const known = await opening;
  if (known !== null && (known.isRefused() || elapsedMs(lastAt) > SLEEP_MS_MAX)) {
    opening = null;
    await known.close();
  }
  if (opening === null) {
    lastAt = moment();
    opening = import('./redirect-function.ts').then(({ openRedirectFunction }) =>
      openRedirectFunction(name, process.env),
    );
    opening.catch(() => {
      opening = null;
    });
  }
  return opening;
}
