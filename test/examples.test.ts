import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { createVerifier } from '../contract/link-token.ts';
import { isSkipped, isSkippedInCiToo } from './support/skipped.ts';

const ROOT = join(import.meta.dirname, '..');

type Vector = {
  keyId: string;
  secret: string;
  adId: number;
  publisher: string | null;
  nonce: string | null;
  expiry: number | null;
  token: string;
};
// A parsing boundary: the tests of links look at every field.
const vectors = JSON.parse(readFileSync(join(ROOT, 'contract/vectors/links.json'), 'utf8')) as Vector[];

function run(command: string, ...args: string[]): { status: number | null; output: string } {
  const { status, stdout, stderr } = spawnSync(command, args, {
    cwd: ROOT,
    encoding: 'utf8',
    // Python leaves no compiled files behind.
    env: { ...process.env, PYTHONDONTWRITEBYTECODE: '1' },
  });
  return { status, output: `${stdout ?? ''}${stderr ?? ''}`.trim() };
}

const works = (command: string, ...args: string[]) => run(command, ...args).status === 0;
const hasPython = works('python3', '--version');
const hasOpenssl = works('openssl', 'version');

/** How each signer runs, and the reason to skip it. CI installs Python and openssl; Go and PHP it may lack. */
const signers = [
  {
    name: 'sign_link.py',
    command: ['python3'],
    skipped: isSkipped(hasPython ? null : 'python3 is missing: install it to test examples/sign_link.py'),
  },
  {
    name: 'sign_link.sh',
    command: ['sh'],
    skipped: isSkipped(hasOpenssl ? null : 'openssl is missing: install it to test examples/sign_link.sh'),
  },
  {
    name: 'sign_link.go',
    command: ['go', 'run'],
    skipped: isSkippedInCiToo(
      works('go', 'version') ? null : 'go is missing: install it to test examples/sign_link.go',
    ),
  },
  {
    name: 'sign_link.php',
    command: ['php'],
    skipped: isSkippedInCiToo(
      works('php', '--version') ? null : 'php is missing: install it to test examples/sign_link.php',
    ),
  },
];

describe.each(signers)('examples/$name', ({ name, command: [program = '', ...options], skipped }) => {
  const sign = (...args: string[]) => run(program, ...options, `examples/${name}`, ...args);

  // Go compiles it first.
  it.skipIf(skipped)('signs every test vector', { timeout: 120_000 }, () => {
    for (const { keyId, secret, adId, publisher, nonce, expiry, token } of vectors) {
      const more = [
        ...(publisher === null ? [] : [publisher]),
        ...(nonce === null ? [] : [nonce, String(expiry)]),
      ];
      expect(sign(keyId, secret, String(adId), ...more)).toEqual({ status: 0, output: token });
    }
  });

  it.skipIf(skipped)('says what it expects', { timeout: 120_000 }, () => {
    const { status, output } = sign('k1');
    expect(status).not.toBe(0);
    expect(output).toContain('Expected KEY_ID SECRET AD_ID [PUBLISHER] [NONCE EXPIRY]');
  });
});

describe('examples/consume_clicks.py', () => {
  it.skipIf(
    isSkipped(hasPython ? null : 'python3 is missing: install it to check examples/consume_clicks.py'),
  )('is Python', () => {
    const compile = 'import sys; compile(open(sys.argv[1]).read(), sys.argv[1], "exec")';
    expect(run('python3', '-c', compile, 'examples/consume_clicks.py')).toEqual({ status: 0, output: '' });
  });
});

describe('examples/publisher.html', () => {
  it('has a link that a key of the test vectors has signed', () => {
    const page = readFileSync(join(ROOT, 'examples/publisher.html'), 'utf8');
    const [, token = ''] = /href="http:\/\/localhost:8080\/c\/([^"]+)"/.exec(page) ?? [];
    const [vector] = vectors;
    const secret = Buffer.from(vector?.secret ?? '', 'base64url');
    const verify = createVerifier([{ id: vector?.keyId ?? '', state: 'verifies', secret }], 1);
    expect(verify(token)).toMatchObject({ adId: 1, nonce: null });
  });
});
