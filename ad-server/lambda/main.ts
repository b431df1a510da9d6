import type { APIGatewayProxyStructuredResultV2 } from 'aws-lambda';
import { elapsedMs, moment } from '../../common/elapsed.ts';
import { readHttpEvent } from './http-event.ts';
import type { RedirectFunction } from './redirect-function.ts';

const name = 'lambda-redirect';
/** Idle time after which connections are replaced, in ms: a frozen function does not notice that they broke. */
const IDLE_MS_MAX = 60_000;
let opening: Promise<RedirectFunction> | null = null;
let lastAt = moment();

/** Redirects a click, behind an HTTP API or a function URL. Throws `bad_event`, or what opening the redirect throws. */
export async function handler(event: unknown): Promise<APIGatewayProxyStructuredResultV2> {
  const request = readHttpEvent(name, event);
  const { answer } = await opened();
  const { status, headers, body } = await answer(request);
  lastAt = moment();
  const named: Record<string, string> = {};
  for (let at = 0; at + 1 < headers.length; at += 2) named[headers[at] ?? ''] = headers[at + 1] ?? '';
  return { statusCode: status, headers: named, body: request.method === 'HEAD' ? '' : body.toString() };
}

/** The redirect. Opened by the first click, and again after a long idle time or a changed password. */
async function opened(): Promise<RedirectFunction> {
  const known = await opening;
  if (known !== null && (known.isRefused() || elapsedMs(lastAt) > IDLE_MS_MAX)) {
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
