import type { InjectOptions } from 'light-my-request';
import { createLoginLink } from '../../ledger/access/login-links.ts';
import { changeAs } from '../../ledger/actor.ts';
import type { TestDatabase } from '../support/database.ts';
import type { Answer, TestApi } from './api-client.ts';
import { assertDescribed } from './described-answers.ts';

/** The cookie of the API of `testApi`. */
export const COOKIE = 'tollway_session_8083';
/** What browsers add to the requests of a page of the console. */
export const OWN_PAGE = { 'sec-fetch-site': 'same-origin' };

type Method = NonNullable<InjectOptions['method']>;
/** Sends a request without a key in the header, as a browser does. */
export async function sendAs(
  { app }: TestApi,
  method: Method,
  url: string,
  { headers = {}, body }: { readonly headers?: Record<string, string>; readonly body?: object } = {},
): Promise<Answer> {
  const response = await app.inject({ method, url, headers, ...(body && { payload: body }) });
  const parsed = response.body === '' ? null : JSON.parse(response.body);
  await assertDescribed(app, { method, url, response, body: parsed });
  return { status: response.statusCode, headers: response.headers, body: parsed };
}

/** The cookie that an answer sets, as a browser sends it back: `name=value`. */
export function cookieOf({ headers }: Answer): string {
  return String(headers['set-cookie']).split(';')[0] ?? '';
}

/** Logs a browser in with a key, and returns its cookie. */
export async function logIn(api: TestApi, key: string): Promise<string> {
  const answer = await sendAs(api, 'POST', '/v1/session', { headers: OWN_PAGE, body: { key } });
  if (answer.status !== 201) throw new Error(`Expected a session, got ${JSON.stringify(answer.body)}`);
  return cookieOf(answer);
}

/** The token of a new login link. */
export async function newLoginToken(database: TestDatabase, keyId?: number): Promise<string> {
  const link = await changeAs(database.pool, { type: 'cli', user: 'someone' }, (connection) =>
    createLoginLink(connection, keyId),
  );
  return link.token;
}
