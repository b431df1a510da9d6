import { GetSecretValueCommand, SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { TollwayError } from '../errors.ts';

const ATTEMPTS_MAX = 2;
const CONNECT_MS_MAX = 2_000;
const REQUEST_MS_MAX = 4_000;

/**
 * Adds the user and the password of a secret to a database URL. The secret is JSON with `username` and `password`, the format of RDS:
 * https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_secret_json_structure.html
 * Throws `bad_secret`, without the content of the secret, or what the AWS SDK throws.
 */
export async function withSecret(databaseUrl: string, secretId: string): Promise<string> {
  const client = new SecretsManagerClient({
    maxAttempts: ATTEMPTS_MAX,
    // By default the SDK has no timeouts, and without the last option it only logs a warning.
    requestHandler: {
      connectionTimeout: CONNECT_MS_MAX,
      requestTimeout: REQUEST_MS_MAX,
      throwOnRequestTimeout: true,
    },
  });
  try {
    const { SecretString } = await client.send(new GetSecretValueCommand({ SecretId: secretId }));
    const { username, password } = parse(SecretString ?? '', secretId);
    const url = new URL(databaseUrl);
    url.username = encodeURIComponent(username);
    url.password = encodeURIComponent(password);
    return url.href;
  } finally {
    client.destroy();
  }
}

function parse(text: string, secretId: string): { username: string; password: string } {
  let secret: unknown;
  try {
    secret = JSON.parse(text);
  } catch {
    secret = null;
  }
  // The cast is safe: both fields are checked before use.
  const { username, password } = (secret ?? {}) as { username?: unknown; password?: unknown };
  if (typeof username === 'string' && typeof password === 'string') return { username, password };
  throw new TollwayError(
    'bad_secret',
    `DATABASE_SECRET: expected JSON with "username" and "password" in ${secretId}`,
  );
}
