import { describe, expect, it } from 'vitest';
import { parseConfig, settings } from '../../common/config/config.ts';
import { productCode } from '../support/source-folders.ts';

const SECRET = 'AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8';

function problemsOf(env: Record<string, string>): string[] {
  try {
    parseConfig(env);
  } catch (error) {
    expect(error).toMatchObject({ code: 'bad_settings' });
    return (error as Error).message.split('\n').slice(1);
  }
  return [];
}

describe('the environment', () => {
  it('can be empty: every setting then has its default', () => {
    const config = parseConfig({});
    expect(Object.keys(config).sort()).toEqual(Object.keys(settings).sort());
    expect(config).toMatchObject({
      AD_SERVER_HOST: '0.0.0.0',
      AD_SERVER_PORT: 8080,
      AD_SERVER_OPS_PORT: 8081,
      PROCESSOR_OPS_PORT: 8082,
      OPS_HOST: '127.0.0.1',
      PUBLIC_URL: 'http://localhost:8080',
      DATA_DIR: '.tollway',
      DATABASE_URL: undefined,
      BROKER: 'postgres',
      LINK_KEYS: undefined,
      AD_SERVER_WORKERS: 1,
      TRUSTED_PROXIES: [],
      DOUBLE_CLICK_MS: 1_000,
      SPOOL_SYNC: 'os',
      SPOOL_FULL: 'redirect',
    });
  });

  it('can have other variables', () => {
    expect(parseConfig({ PATH: '/bin', HOME: '/root' })).toEqual(parseConfig({}));
  });

  it('counts an empty variable as unset', () => {
    const empty = Object.fromEntries(Object.keys(settings).map((name) => [name, '']));
    expect(parseConfig(empty)).toEqual(parseConfig({}));
  });

  it('is parsed once and frozen', () => {
    const config = parseConfig({});
    expect(Object.isFrozen(config)).toBe(true);
    expect(() => Object.assign(config, { AD_SERVER_PORT: 1 })).toThrow(TypeError);
  });

  it('sets the port of PUBLIC_URL to AD_SERVER_PORT by default', () => {
    expect(parseConfig({ AD_SERVER_PORT: '9000' }).PUBLIC_URL).toBe('http://localhost:9000');
    expect(parseConfig({ AD_SERVER_PORT: '9000', PUBLIC_URL: 'https://go.example/' }).PUBLIC_URL).toBe(
      'https://go.example',
    );
  });

  it('reads trusted proxies as addresses and networks', () => {
    expect(
      parseConfig({ TRUSTED_PROXIES: '10.0.0.0/8, 192.0.2.1,::1,2001:db8::/32' }).TRUSTED_PROXIES,
    ).toEqual([
      { address: '10.0.0.0', prefix: 8 },
      { address: '192.0.2.1', prefix: 32 },
      { address: '::1', prefix: 128 },
      { address: '2001:db8::', prefix: 32 },
    ]);
  });
});

describe('a bad environment', () => {
  it('is refused with all problems in one message, each with the name of its setting', () => {
    const env = {
      AD_SERVER_PORT: 'eighty',
      BROKER: 'rabbit',
      DATABASE_URL: 'mysql://db',
      LINK_KEYS: 'nonsense',
      TRUSTED_PROXIES: '10.0.0.0/33',
      SPOOL_SYNC: 'never',
      PUBLIC_URL: 'ftp://go.example',
    };
    const problems = problemsOf(env);
    expect(problems).toHaveLength(Object.keys(env).length);
    for (const name of Object.keys(env)) {
      expect(problems.filter((problem) => problem.trim().startsWith(`${name}: `))).toHaveLength(1);
    }
  });

  it('is refused with its contradictions and its other problems', () => {
    const problems = problemsOf({
      AD_SERVER_PORT: 'eighty',
      BROKER_RETENTION_DAYS: '30',
      CLICK_AGE_MAX_DAYS: '14',
    });
    expect(problems).toContainEqual(expect.stringContaining('AD_SERVER_PORT: expected a whole number'));
    expect(problems).toContainEqual(
      expect.stringMatching(/BROKER_RETENTION_DAYS: expected at most .*CLICK_AGE_MAX_DAYS.*, got 30/),
    );
  });

  it('is refused with what was expected and what came', () => {
    expect(problemsOf({ PARALLELIZATION: '33' })).toEqual([
      '  PARALLELIZATION: expected a whole number of 1–32 (lanes), got "33"',
    ]);
    expect(problemsOf({ SPOOL_FULL: 'drop' })).toEqual([
      '  SPOOL_FULL: expected one of redirect, refuse, got "drop"',
    ]);
  });

  const ranged = Object.entries(settings).flatMap(([name, { range, default: fallback }]) => {
    const match = /, (\d+)–(\d+)$/.exec(range);
    return match ? [{ name, min: Number(match[1]), max: Number(match[2]), fallback }] : [];
  });
  /** Settings whose minimum or maximum contradicts the default of another setting. */
  const AROUND: Record<string, Record<string, string>> = {
    SPOOL_SEGMENT_BYTES: { SPOOL_MAX_BYTES: '1099511627776' },
    SPOOL_MAX_BYTES: { SPOOL_SEGMENT_BYTES: '4096' },
    BROKER_RETENTION_DAYS: { CLICK_AGE_MAX_DAYS: '365' },
    CLICK_AGE_MAX_DAYS: { BROKER_RETENTION_DAYS: '1' },
    LEDGER_RETENTION_DAYS: {
      CLICK_AGE_MAX_DAYS: '2',
      BROKER_RETENTION_DAYS: '1',
      EVIDENCE_RETENTION_DAYS: '2',
    },
    EVIDENCE_RETENTION_DAYS: { LEDGER_RETENTION_DAYS: '4000' },
  };

  it.each(ranged)('$name accepts $min and $max and nothing beyond', ({ name, min, max, fallback }) => {
    const deps = AROUND[name];
    for (const value of [min, max, Number(fallback)]) {
      expect(parseConfig({ ...deps, [name]: String(value) })).toMatchObject({ [name]: value });
    }
    const wrong = [String(max + 1), '1.5', '1e3', '0x10', '+1', ' 1', 'NaN', 'Infinity'];
    for (const text of min > 0 ? [...wrong, String(min - 1)] : [...wrong, '-1']) {
      expect(problemsOf({ ...deps, [name]: text })).toEqual([expect.stringContaining(`${name}: expected`)]);
    }
  });

  it('covers the ranges of many settings', () => expect(ranged.length).toBeGreaterThan(15));

  it.each([
    ['10.0.0.0/33'],
    ['10.0.0.0/-1'],
    ['10.0.0.0/'],
    ['10.0.0.0/8/8'],
    ['2001:db8::/129'],
    ['proxy.example'],
    ['10.0.0'],
    ['10.0.0.0/8;10.1.0.0/16'],
  ])('TRUSTED_PROXIES refuses %s', (text) => {
    expect(problemsOf({ TRUSTED_PROXIES: text })).toEqual([
      expect.stringContaining('TRUSTED_PROXIES: expected'),
    ]);
  });
});

describe('settings that contradict each other', () => {
  it.each([
    ['BROKER_RETENTION_DAYS', { BROKER_RETENTION_DAYS: '15', CLICK_AGE_MAX_DAYS: '14' }],
    [
      'CLICK_AGE_MAX_DAYS',
      { CLICK_AGE_MAX_DAYS: '30', LEDGER_RETENTION_DAYS: '29', EVIDENCE_RETENTION_DAYS: '0' },
    ],
    ['EVIDENCE_RETENTION_DAYS', { EVIDENCE_RETENTION_DAYS: '31', LEDGER_RETENTION_DAYS: '30' }],
    ['SPOOL_SEGMENT_BYTES', { SPOOL_SEGMENT_BYTES: '65537', SPOOL_MAX_BYTES: '65536' }],
  ])('are refused: %s', (name, env) => {
    expect(problemsOf(env)).toEqual([
      expect.stringMatching(new RegExp(`^ {2}${name}: expected at most .*: `)),
    ]);
  });

  it('are accepted when they are equal', () => {
    expect(problemsOf({ BROKER_RETENTION_DAYS: '14', CLICK_AGE_MAX_DAYS: '14' })).toEqual([]);
    expect(problemsOf({ SPOOL_SEGMENT_BYTES: '65536', SPOOL_MAX_BYTES: '65536' })).toEqual([]);
  });

  it('are refused when a segment of each worker does not fit into the spools', () => {
    const env = { SPOOL_SEGMENT_BYTES: '65536', SPOOL_MAX_BYTES: '131072', AD_SERVER_WORKERS: '4' };
    expect(problemsOf(env)).toEqual([expect.stringContaining('SPOOL_SEGMENT_BYTES: expected at most')]);
  });
});

describe('messages do not contain secrets', () => {
  it.each([
    ['the password of a database of another kind', { DATABASE_URL: 'mysql://u:hunter2@db/tollway' }],
    ['the password of a URL that is none', { DATABASE_URL: 'postgres://u:hunter2@' }],
    ['a password without a URL', { DATABASE_URL: 'hunter2' }],
    ['a password in a printed URL', { PUBLIC_URL: 'ssh://u:hunter2@go.example' }],
  ])('%s', (_, env) => {
    const problems = problemsOf(env);
    expect(problems).toHaveLength(1);
    expect(problems.join()).not.toContain('hunter2');
  });

  it.each([
    ['too long', `k1:signs:${SECRET}!`],
    ['in the place of the state', `k1:${SECRET}:signs`],
    ['alone', SECRET],
  ])('the secret of a link key: %s', (_, text) => {
    const problems = problemsOf({ LINK_KEYS: text });
    expect(problems).toHaveLength(1);
    expect(problems.join()).not.toContain(SECRET);
  });
});

it('Each setting is read by the code', () => {
  // These files name settings without reading them.
  const lists = ['config.ts', 'contradictions.ts', 'shown-settings.ts'];
  const code = productCode(lists.map((name) => `common/config/${name}`));
  expect(Object.keys(settings).filter((name) => !new RegExp(`\\b${name}\\b`).test(code))).toEqual([]);
});
