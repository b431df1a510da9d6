import type { Readable } from 'node:stream';
import type { InjectOptions } from 'light-my-request';
import { beforeAll } from 'vitest';
import { errorCode } from '../../common/errors.ts';
import { inTransaction, type Pool } from '../../common/postgres/postgres.ts';
import { createKey, type Role } from '../../ledger/access/api-keys.ts';
import { createSession } from '../../ledger/access/console-sessions.ts';
import type { TestApi } from './api-client.ts';
import { addOwner, missingOwner, type Owner } from './owners.ts';
import type { RouteRequest } from './route-access.ts';

/** Whose key it is: of all advertisers, of the owner that the requests are about, or of another advertiser. */
export type Scope = 'all advertisers' | 'the owner' | 'another advertiser';

/** An answer as it is sent, but for headers that differ between equal requests. */
export type RawAnswer = { readonly status: number; readonly headers: string; readonly text: string };

/** Two advertisers with everything that the API shows, ids of things that do not exist, and keys to request them. */
export type Callers = {
  readonly own: Owner;
  readonly other: Owner;
  readonly missing: Owner;
  readonly keyOf: (role: Role, scope: Scope) => string;
  /** Begins a session of the same key, and returns its cookie. */
  readonly sessionOf: (role: Role, scope: Scope) => Promise<string>;
};

/** Creates the advertisers and the keys before the tests of a suite. */
export function routeCallers(pool: () => Pool): Callers {
  let made: { own: Owner; other: Owner; missing: Owner; keys: Map<string, string> } | undefined;
  beforeAll(async () => {
    const own = await addOwner(pool(), 'zebra', 611_000, '731173');
    const other = await addOwner(pool(), 'quagga', 655_000, '917719');
    const keys = new Map<string, string>();
    const scopes = {
      'all advertisers': null,
      'the owner': [own.advertiserId],
      'another advertiser': [other.advertiserId],
    };
    for (const role of ['admin', 'manager', 'finance', 'viewer'] as const)
      for (const [scope, advertiserIds] of Object.entries(scopes)) {
        if (role === 'admin' && advertiserIds) continue;
        keys.set(
          `${role} ${scope}`,
          (await createKey(pool(), { name: `${role} key`, role, advertiserIds })).key,
        );
      }
    made = { own, other, missing: missingOwner(own), keys };
  });
  const current = () => {
    if (!made)
      throw new Error('Expected the callers to be used in tests only, got a use before the suite began');
    return made;
  };
  const keyOf = (role: Role, scope: Scope) => {
    const key = current().keys.get(`${role} ${scope}`);
    if (key === undefined) throw new Error(`Expected a role that has keys for ${scope}, got ${role}`);
    return key;
  };
  return {
    get own() {
      return current().own;
    },
    get other() {
      return current().other;
    },
    get missing() {
      return current().missing;
    },
    keyOf,
    sessionOf: async (role, scope) => {
      const keyId = Number(keyOf(role, scope).split('_')[1]);
      const { token } = await inTransaction(pool(), (connection) => createSession(connection, keyId));
      return `tollway_session_8083=${token}`;
    },
  };
}

/** Headers that differ between equal requests. */
const VARYING = /^(date|keep-alive|ratelimit|x-ratelimit|retry-after|tollway-until)/;

let requests = 0;

/** An address that no request has come from: wrong keys are limited by address. */
function nextAddress(): string {
  requests += 1;
  return `10.${requests >> 16}.${(requests >> 8) & 255}.${requests & 255}`;
}

/** Sends a request to a route, such as `GET /v1/ads`, with a key in the header unless it is `null`. */
export async function sendRaw(
  { app }: TestApi,
  route: string,
  { url, body }: RouteRequest,
  key: string | null,
  headers: Record<string, string> = {},
): Promise<RawAnswer> {
  const isStream = url === '/v1/events';
  const answer = await app.inject({
    payloadAsStream: isStream,
    remoteAddress: nextAddress(),
    method: route.split(' ')[0] as NonNullable<InjectOptions['method']>,
    url,
    headers: { ...(key !== null && { authorization: `Bearer ${key}` }), ...headers },
    ...(body !== undefined && { payload: body }),
  });
  const text = isStream ? await readStart(answer.stream()) : answer.body;
  const compared = Object.entries(answer.headers).filter(([name]) => !VARYING.test(name));
  return { status: answer.statusCode, headers: JSON.stringify(compared.sort()), text };
}

/** What a stream sends in its first second or two. */
async function readStart(stream: Readable): Promise<string> {
  const timer = setTimeout(() => stream.destroy(), 1_500);
  let text = '';
  try {
    for await (const chunk of stream.setEncoding('utf8')) {
      text += chunk;
      if (text.includes('event: budgets')) break;
    }
  } catch (error) {
    // The timer has destroyed the stream.
    if (errorCode(error) !== 'ERR_STREAM_PREMATURE_CLOSE') throw error;
  } finally {
    clearTimeout(timer);
    stream.destroy();
  }
  return text;
}

/** Replaces the ids of an owner by their names, so that answers about different owners can be compared. */
export function masked(text: string, owner: Owner): string {
  const { secrets: _, ...ids } = owner;
  return Object.entries(ids)
    .toSorted(([, a], [, b]) => String(b).length - String(a).length)
    .reduce((result, [name, id]) => result.replaceAll(String(id), `<${name}>`), text);
}

/** An answer with the ids masked, and its texts with `unique <n>` equal. */
export function maskedAnswer({ status, headers, text }: RawAnswer, owner: Owner): RawAnswer {
  return { status, headers: masked(headers, owner), text: masked(text, owner) };
}
