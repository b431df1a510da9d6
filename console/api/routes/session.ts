import type { FastifyRequest } from 'fastify';
import * as z from 'zod';
import type { Pool } from '../../../common/postgres/postgres.ts';
import { readVersion } from '../../../common/version.ts';
import { type ApiKey, findKey, ROLES } from '../../../ledger/access/api-keys.ts';
import { recordAudit } from '../../../ledger/access/audit-log.ts';
import { createSession, endSession, SESSION_DAYS } from '../../../ledger/access/console-sessions.ts';
import { findLoginLink, LOGIN_LINK_MINUTES, useLoginLink } from '../../../ledger/access/login-links.ts';
import { hasActiveSamples } from '../../../ledger/accounts/sample-advertisers.ts';
import { changeAs } from '../../../ledger/actor.ts';
import { ACCESS_RULES, allowedRules, type Caller } from '../access.ts';
import { describeInactive, earliest, QUERY_MS_MAX } from '../authenticate.ts';
import { unauthenticated } from '../credentials.ts';
import type { App, SessionDeps } from '../deps.ts';
import { assertNoForeignPage } from '../page-origin.ts';
import { Id, Name, Time } from '../schemas.ts';

const RULES = Object.keys(ACCESS_RULES) as (keyof typeof ACCESS_RULES)[];

/** What a page needs to know about the caller and the installation. */
export const Session = z
  .strictObject({
    keyId: Id.meta({ description: 'The API key that the session belongs to.' }),
    name: Name.meta({ description: 'Name of the key.' }),
    role: z.enum(ROLES),
    advertiserIds: z
      .array(Id)
      .nullable()
      .meta({ description: 'The caller sees these advertisers only; `null`: all.' }),
    expiresAt: Time.nullable().meta({
      description: 'When the session or the key ends. Each use of a session moves its end on. `null`: never.',
    }),
    allowed: z
      .array(z.enum(RULES))
      .meta({ description: 'The rules that allow the caller something; docs/running.md explains them.' }),
    version: z.string().meta({ examples: ['0.1.0'] }),
    hasSamples: z.boolean().meta({
      description: 'Whether there are active sample ads. Always `false` for callers of some advertisers.',
    }),
    adServerUrl: z.string().meta({ description: '`PUBLIC_URL`.', examples: ['http://localhost:8080'] }),
    docsUrl: z.string().nullable().meta({ description: 'Address of the documentation; `null`: unknown.' }),
  })
  .meta({ id: 'Session', description: 'What the caller may do, and what a page needs to know.' });

const Login = z
  .strictObject({
    key: z.string().optional().meta({ description: 'Text of an API key.' }),
    login: z.string().optional().meta({ description: 'Token of a login link: what follows `#login=`.' }),
  })
  .refine(({ key, login }) => (key === undefined) !== (login === undefined), {
    error: 'Expected either key or login',
  })
  .meta({ id: 'Login', description: 'Either `key` or `login`.' });

const tags = ['Sessions'];

/** Adds the routes of sessions of browsers. */
export function sessionRoutes(app: App, deps: SessionDeps): void {
  const describe = describer(deps);
  loginRoute(app, deps, describe);
  getRoute(app, describe);
  logoutRoute(app, deps);
}

type Describe = (caller: Caller, expiresAt: Date | null) => Promise<z.output<typeof Session>>;

function describer({ pool, config }: SessionDeps): Describe {
  const version = readVersion();
  return async (caller, expiresAt) => ({
    ...caller,
    advertiserIds: caller.advertiserIds && [...caller.advertiserIds],
    expiresAt,
    allowed: allowedRules(caller),
    version,
    hasSamples: caller.advertiserIds === null && (await hasActiveSamples(pool)),
    adServerUrl: config.PUBLIC_URL,
    // The documentation is part of the repository and has no address of its own yet.
    docsUrl: null,
  });
}

function loginRoute(app: App, { pool, cookie }: SessionDeps, describe: Describe): void {
  app.post(
    '/v1/session',
    {
      config: { access: 'public', isLogin: true, errors: ['unauthenticated', 'forbidden'] },
      schema: {
        ...{ tags, operationId: 'logIn', summary: 'Log a browser in' },
        description: `Begins a session and sets its cookie, which authenticates requests of the pages of the console. It does what the API key may do, and ends ${SESSION_DAYS} days after its latest use, or with the key. A login link, which \`npx tollway login\` prints, can be used once, within ${LOGIN_LINK_MINUTES} minutes.`,
        body: Login,
        response: { 201: Session },
      },
    },
    async (request, reply) => {
      assertNoForeignPage(request);
      const key = await findLoginKey(pool, request.body);
      const { token, expiresAt } = await beginSession(pool, key, request.body, cookie.valuesOf(request));
      cookie.set(request, reply, token);
      reply.code(201).header('cache-control', 'no-store');
      return describe(callerOf(key), earliest(key.expiresAt, expiresAt));
    },
  );
}

type LoginBody = z.output<typeof Login>;

/** The active key of a log-in. Throws `unauthenticated`. */
async function findLoginKey(pool: Pool, { key: text, login = '' }: LoginBody): Promise<ApiKey> {
  const key =
    text === undefined
      ? await findLoginLink(pool, login, QUERY_MS_MAX)
      : await findKey(pool, text, QUERY_MS_MAX);
  if (!key)
    throw text === undefined
      ? unusableLink()
      : unauthenticated('body/key: expected a key of this installation, got an unknown one');
  if (key.status !== 'active') throw unauthenticated(`body: ${describeInactive(key)}`);
  return key;
}

function unusableLink(): Error {
  return unauthenticated(
    `body/login: expected a login link that is at most ${LOGIN_LINK_MINUTES} minutes old and was not used, got another one; npx tollway login prints a new one`,
  );
}

/** Begins a session of a key, uses the login link up, and ends the sessions of the cookies that the new one replaces. */
function beginSession(pool: Pool, key: ApiKey, { login }: LoginBody, replaced: readonly string[]) {
  const { id, name, role } = key;
  return changeAs(pool, { type: 'key', id, name, role }, async (connection) => {
    if (login !== undefined && !(await useLoginLink(connection, login))) throw unusableLink();
    for (const token of replaced) await endSession(connection, token);
    const by = login === undefined ? 'key' : 'login link';
    await recordAudit(connection, { action: 'session.create', subject: String(id), after: { by } });
    return createSession(connection, id);
  });
}

function callerOf({ id: keyId, name, role, advertiserIds }: ApiKey): Caller {
  return { keyId, name, role, advertiserIds };
}

function getRoute(app: App, describe: Describe): void {
  app.get(
    '/v1/session',
    {
      config: { access: 'session.use' },
      schema: {
        ...{ tags, operationId: 'getSession', summary: 'Get what the caller may do' },
        description: 'Of the session of a browser, or of the key in the header.',
        response: { 200: Session },
      },
    },
    ({ caller, authentication }: FastifyRequest, reply) => {
      reply.header('cache-control', 'no-store');
      return describe(caller, authentication.expiresAt);
    },
  );
}

function logoutRoute(app: App, { pool, cookie }: SessionDeps): void {
  app.delete(
    '/v1/session',
    {
      config: { access: 'session.use' },
      schema: {
        ...{ tags, operationId: 'logOut', summary: 'Log the browser out' },
        description: 'Ends the session and deletes its cookie. With a key in the header, it changes nothing.',
        response: { 204: z.undefined() },
      },
    },
    async ({ authentication }, reply) => {
      if (authentication.kind === 'session') {
        await endSession(pool, authentication.secret);
        cookie.clear(reply);
      }
      reply.code(204);
    },
  );
}
