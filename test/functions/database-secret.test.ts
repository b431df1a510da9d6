import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { formatLinkKeys, type LinkKey } from '../../common/config/link-keys.ts';
import { createSigner, evergreenLink } from '../../contract/link-token.ts';
import { type Lambda, startLambda } from '../../emulators/lambda/runtime.ts';
import { ricIsMissing } from '../../emulators/lambda/runtime-client.ts';
import { administer } from '../brokers/test-environment.ts';
import { addAccount, createTestDatabase, type TestDatabase } from '../support/database.ts';
import { isSkipped } from '../support/skipped.ts';
import { builtFunctions } from './bundles.ts';
import { httpApiEvent } from './http-events.ts';

const root = builtFunctions();
const skipped = isSkipped(await ricIsMissing());
const RUN_MS_MAX = 120_000;
const ARN = 'arn:aws:secretsmanager:us-east-1:123456789012:secret:ledger-AbCdEf';

/** A password whose characters must be escaped in a URL. */
const USER = 'tollway_secret user';
const PASSWORD = `p@ss:w/o?r#d%41&+'"`;

/** The part of Secrets Manager that the SDK uses: `GetSecretValue` with a status and an answer. */
async function startSecrets() {
  const requested: string[] = [];
  const state: { status: number; body: unknown } = { status: 200, body: {} };
  const server = createServer(async (request, response) => {
    let body = '';
    for await (const part of request) body += part;
    requested.push(`${request.headers['x-amz-target']} ${JSON.parse(body).SecretId}`);
    response.writeHead(state.status, { 'content-type': 'application/x-amz-json-1.1' });
    response.end(JSON.stringify(state.body));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    endpoint: `http://127.0.0.1:${port}`,
    requested,
    holds: (secret: unknown) => {
      const text = typeof secret === 'string' ? secret : JSON.stringify(secret);
      Object.assign(state, { status: 200, body: { ARN, Name: 'ledger', SecretString: text } });
    },
    answers: (status: number, body: unknown) => Object.assign(state, { status, body }),
    stop: async () => {
      server.close();
      server.closeAllConnections();
    },
  };
}

type Secrets = Awaited<ReturnType<typeof startSecrets>>;
/** Calls the function and returns its error message, or `null`. */
type Call = () => Promise<string | null>;
type SecretSite = {
  readonly secrets: Secrets;
  readonly call: Call;
  readonly lambda: Lambda;
  readonly database: TestDatabase;
  readonly logs: () => string;
};
const KEYS: readonly LinkKey[] = [{ id: 'k1', state: 'signs', secret: Buffer.alloc(32, 1) }];

/** A function and a database whose password is in a secret. */
async function withSecrets(work: (environment: SecretSite) => Promise<void>, name = 'lambda-reconcile') {
  const secrets = await startSecrets();
  const database = await createTestDatabase();
  const url = new URL(database.url);
  url.username = 'nobody';
  url.password = 'wrong';
  const lambda = await startLambda({
    folder: join(root, name),
    functionName: name,
    env: {
      DATABASE_URL: url.href,
      DATABASE_SECRET: ARN,
      LINK_KEYS: formatLinkKeys(KEYS),
      NODE_PATH: join(import.meta.dirname, '..', '..', 'node_modules'),
      AWS_ENDPOINT_URL_SECRETS_MANAGER: secrets.endpoint,
      AWS_ACCESS_KEY_ID: 'test',
      AWS_SECRET_ACCESS_KEY: 'test',
    },
  });
  const call = async () => {
    const result = await lambda.invoke({});
    return 'error' in result ? result.error.errorMessage : null;
  };
  try {
    await work({ secrets, call, lambda, database, logs: lambda.logs });
  } catch (error) {
    process.stderr.write(lambda.logs());
    throw error;
  } finally {
    await lambda.stop();
    await secrets.stop();
    await database.drop();
  }
}

describe.skipIf(skipped)('the secret of the database', { timeout: RUN_MS_MAX }, () => {
  beforeAll(async () => {
    await administer(async (query) => {
      await query(`drop role if exists "${USER}"`);
      await query(`create role "${USER}" login superuser password '${PASSWORD.replaceAll("'", "''")}'`);
    });
    return () => administer((query) => query(`drop role "${USER}"`));
  });

  it('sets user and password of the connection, whatever the URL contains', () =>
    withSecrets(async ({ secrets, call, database, logs }) => {
      secrets.holds({ username: USER, password: PASSWORD, engine: 'postgres', port: 5_432 });
      expect(await call()).toBeNull();
      expect(secrets.requested).toEqual([`secretsmanager.GetSecretValue ${ARN}`]);
      const { rows } = await database.pool.query(
        `select distinct usename from pg_stat_activity
         where datname = current_database() and application_name like '%lambda-reconcile%'`,
      );
      expect(rows).toEqual([{ usename: USER }]);
      expect(await call()).toBeNull();
      expect(secrets.requested).toHaveLength(1);
      expect(logs()).not.toContain('p@ss');
    }));

  it('is read again after it has changed', () =>
    withSecrets(async ({ secrets, call, database }) => {
      secrets.holds({ username: USER, password: 'that of yesterday' });
      expect(await call()).toContain('password authentication failed');
      secrets.holds({ username: USER, password: PASSWORD });
      expect(await call()).toBeNull();
      expect((await database.pool.query('select 1')).rowCount).toBe(1);
    }));

  it('is read again by the redirect function after it has changed', () =>
    withSecrets(async ({ secrets, lambda, database }) => {
      const { ad } = await addAccount(database.pool);
      const path = `/c/${createSigner(KEYS)(evergreenLink(ad.id))}`;
      const click = async () => {
        const result = await lambda.invoke(httpApiEvent({ path }));
        return 'error' in result
          ? result.error
          : (result.answer as { headers: Record<string, string> }).headers['Tollway-Click'];
      };
      secrets.holds({ username: USER, password: PASSWORD });
      expect(await click()).toMatch(/^[0-9a-f-]{36}$/);
      const changed = 'that of tomorrow';
      await administer((query) => query(`alter role "${USER}" password '${changed}'`));
      try {
        secrets.holds({ username: USER, password: changed });
        await database.pool.query(
          'select pg_terminate_backend(pid) from pg_stat_activity where usename = $1 and datname = current_database()',
          [USER],
        );
        expect(await click()).toBe('none');
        expect(await click()).toMatch(/^[0-9a-f-]{36}$/);
      } finally {
        await administer((query) =>
          query(`alter role "${USER}" password '${PASSWORD.replaceAll("'", "''")}'`),
        );
      }
    }, 'lambda-redirect'));

  it.each([
    ['without a password', { username: USER, pass: PASSWORD }],
    ['without a user', { password: PASSWORD }],
    ['with a number', { username: USER, password: 7, other: PASSWORD }],
    ['that is no JSON', `{"username":"${USER}","password":"p@ss`],
    ['that is a text', JSON.stringify(PASSWORD)],
    ['that is null', 'null'],
  ])('with %s is refused, without its content in the error', (_, secret) =>
    withSecrets(async ({ secrets, call, logs }) => {
      secrets.holds(secret);
      const said = await call();
      expect(said).toMatch(/DATABASE_SECRET: expected JSON with "username" and "password" in arn:aws:/);
      expect(`${said}${logs()}`).not.toContain('p@ss');
      expect(`${said}${logs()}`).not.toContain(USER);
    }),
  );

  it('that is binary or cannot be read gives an error that says so', () =>
    withSecrets(async ({ secrets, call }) => {
      secrets.answers(200, { ARN, SecretBinary: Buffer.from(PASSWORD).toString('base64') });
      expect(await call()).toContain('DATABASE_SECRET: expected JSON');
      const denied =
        'User: arn:aws:sts::1:assumed-role/x is not authorized to perform: secretsmanager:GetSecretValue';
      secrets.answers(400, { __type: 'AccessDeniedException', Message: denied });
      expect(await call()).toContain(denied);
      secrets.holds({ username: USER, password: PASSWORD });
      expect(await call()).toBeNull();
    }));
});
