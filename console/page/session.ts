import { computed, signal } from '@preact/signals';
import type * as z from 'zod';
import type { Session as SessionSchema } from '../api/routes/session.ts';
import { ApiError, get, onLoggedOut, request } from './api.ts';
import { clock } from './ui/clock.ts';

/** Who is logged in, and what the API allows them. */
export type Session = z.input<typeof SessionSchema>;
/** A rule of the API, such as `campaigns.write`. */
export type Rule = Session['allowed'][number];

/** `undefined` until the API has answered, `null` if nobody is logged in. */
export const session = signal<Session | null | undefined>(undefined);

/** Why nobody is logged in, if there is more to say than that. */
export const loginProblem = signal<Error | null>(null);

/** Why it is not yet known who is logged in, and since when (Unix time in ms). `null`: the console has answered, or had no time to. */
export const outage = signal<{ readonly error: ApiError; readonly since: number } | null>(null);

/** Whether the caller may do what a rule of the API allows. The API refuses it anyway. */
export const can = (rule: Rule): boolean => session.value?.allowed.includes(rule) ?? false;

/** Whether the caller sees all advertisers, and what belongs to none. */
export const isUnrestricted = computed(() => session.value?.advertiserIds === null);

/** Finds out who is logged in; uses the login link that the page was opened with, if any. Never rejects. */
export async function openSession(): Promise<void> {
  onLoggedOut.call = () => {
    session.value = null;
  };
  const token = /^#login=([\w-]+)$/.exec(window.location.hash)?.[1];
  if (token !== undefined) {
    // A link works once: it must not stay in the history or be sent on with the address.
    history.replaceState(null, '', window.location.pathname);
    try {
      return await retried(() => logIn({ login: token }));
    } catch (error) {
      loginProblem.value = withoutPointer(error as Error);
    }
  }
  await readSession();
}

/** Logs in by an API key or a login link. Throws `ApiError`. */
export async function logIn(credentials: { key: string } | { login: string }): Promise<void> {
  session.value = (await request<Session>('POST', '/v1/session', { body: credentials })).data;
  loginProblem.value = null;
}

/** An error of the API without the place in the request, which says nothing in a form of one field. */
function withoutPointer(error: Error): Error {
  const text = error.message.replace(/^body(\/\w+)?: /, '');
  return text === error.message ? error : new Error(text.charAt(0).toUpperCase() + text.slice(1));
}

export async function logOut(): Promise<void> {
  await request('DELETE', '/v1/session');
  session.value = null;
}

async function readSession(): Promise<void> {
  try {
    session.value = await retried(() => get<Session>('/v1/session'));
  } catch (error) {
    if (!(error instanceof ApiError && error.status === 401)) loginProblem.value = error as Error;
    session.value = null;
  }
}

/** Time between two attempts, in ms. */
const RETRY_MS = 3_000;
const TOO_MANY_REQUESTS = 429;

/** Repeats a request as long as the console, a proxy or the database does not answer; `outage` says so meanwhile. Throws other errors. */
async function retried<T>(send: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      const answer = await send();
      outage.value = null;
      return answer;
    } catch (error) {
      if (!(error instanceof ApiError) || !isTemporary(error)) {
        outage.value = null;
        throw error;
      }
      outage.value = { error, since: outage.value?.since ?? clock.peek() };
    }
    await new Promise((done) => setTimeout(done, RETRY_MS));
  }
}

/** Whether the same request can succeed later. 0: no answer. */
const isTemporary = ({ status }: ApiError): boolean =>
  status === 0 || status === TOO_MANY_REQUESTS || status >= 500;
