import { describe, expect, it } from 'vitest';
import { parseConfig, settings } from '../../common/config/config.ts';
import { shownSettings } from '../../common/config/shown-settings.ts';

const SECRET = 'Sup3rSecretValue';
const SECRET_BYTES = Buffer.from(SECRET.repeat(2)).toString('base64url');

/** A value of each setting whose value is no number. All that may be secret has `SECRET` in it. */
const GIVEN = {
  AD_SERVER_HOST: '10.0.0.1',
  CONSOLE_HOST: '10.0.0.2',
  WEBHOOK_PRIVATE_TARGETS: 'on',
  OPS_HOST: '10.0.0.3',
  OPS_ALLOWED_HOSTS: 'a.example.com,b.example.com',
  PUBLIC_URL: 'https://go.example.com',
  DATA_DIR: '/var/lib/tollway',
  DATABASE_URL: `postgres://${SECRET}:${SECRET}@db.example.com:5433/tollway?password=${SECRET}&sslkey=${SECRET}`,
  DATABASE_SECRET: `arn:aws:secretsmanager:eu-central-1:1:secret:${SECRET}`,
  BROKER: 'kafka',
  KAFKA_CLIENT: 'kafkajs',
  KAFKA_BROKERS: 'kafka-1:9092,kafka-2:9092',
  KAFKA_TOPIC: 'clicks',
  KAFKA_GROUP: 'processors',
  KAFKA_COMPRESSION: 'zstd',
  KAFKA_TLS: 'on',
  KAFKA_TLS_CA: '/etc/ca.pem',
  KAFKA_TLS_CERT: '/etc/cert.pem',
  KAFKA_TLS_KEY: '/etc/key.pem',
  KAFKA_SASL: 'plain',
  KAFKA_USERNAME: 'tollway',
  KAFKA_PASSWORD: SECRET,
  KINESIS_STREAM: 'clicks',
  KINESIS_ENDPOINT: `https://${SECRET}:${SECRET}@kinesis.example.com/path?token=${SECRET}`,
  START_POSITION: '2026-01-31T12:00:00Z',
  LINK_KEYS: `k1:signs:${SECRET_BYTES},k0:verifies:${SECRET_BYTES}`,
  TRUSTED_PROXIES: '10.0.0.0/8,::1',
  HTTP_FRONT: 'off',
  AGENT_RULES_FILE: '/etc/agents',
  NO_USER_AGENT: 'bot',
  ERROR_PAGE_FILE: '/etc/error.html',
  SPOOL_SYNC: 'each',
  SPOOL_FULL: 'refuse',
  LOG_LEVEL: 'debug',
  LOG_FORMAT: 'pretty',
};

const shown = (env: Readonly<Record<string, string>>) =>
  new Map(shownSettings(parseConfig(env)).map(({ name, ...setting }) => [name, setting]));

describe('the shown settings', () => {
  it('never have a secret', () => {
    // A new setting needs a value above. Give it one with the secret if it can hold one.
    const texts = Object.entries(parseConfig({})).filter(([, value]) => typeof value !== 'number');
    expect(Object.keys(GIVEN).sort()).toEqual(texts.map(([name]) => name).sort());
    const text = JSON.stringify([...shown(GIVEN)]);
    expect(text).not.toContain(SECRET);
    expect(text).not.toContain(SECRET_BYTES);
    expect(text).not.toContain(Buffer.from(SECRET).toString('base64').slice(0, 12));
  });

  it('have the public parts of what can hold a secret', () => {
    const values = shown(GIVEN);
    expect(values.get('DATABASE_URL')?.value).toBe('postgres://db.example.com:5433/tollway');
    expect(values.get('KINESIS_ENDPOINT')?.value).toBe('https://kinesis.example.com/path');
    expect(values.get('LINK_KEYS')?.value).toBe('k1 signs, k0 verifies');
    expect(values.get('KAFKA_PASSWORD')?.value).toBe('set');
    expect(values.get('DATABASE_SECRET')?.value).toBe('set');
  });

  it('have the values as texts, in the order of the configuration page', () => {
    const values = shown(GIVEN);
    expect([...values.keys()]).toEqual(Object.keys(settings));
    expect(values.get('TRUSTED_PROXIES')?.value).toBe('10.0.0.0/8, ::1/128');
    expect(values.get('START_POSITION')?.value).toBe('2026-01-31T12:00:00.000Z');
    expect(values.get('KAFKA_BROKERS')?.value).toBe('kafka-1:9092, kafka-2:9092');
    expect(values.get('BATCH_SIZE')?.value).toBe('8000');
  });

  it('say which are the defaults', () => {
    const none = [...shown({}).values()];
    expect(none.every(({ isDefault }) => isDefault)).toBe(true);
    expect(shown({}).get('DATABASE_URL')).toEqual({ value: null, isDefault: true });
    const given = shown({ BATCH_SIZE: '100', AD_SERVER_PORT: '9000', LOG_LEVEL: 'info' });
    expect([...given].flatMap(([name, { isDefault }]) => (isDefault ? [] : [name]))).toEqual([
      'AD_SERVER_PORT',
      'BATCH_SIZE',
    ]);
  });
});
