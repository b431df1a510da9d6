import { spawn, spawnSync } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { resolvePrivate } from '../console/webhooks/address-check.ts';
import { send } from '../console/webhooks/send.ts';
import { freePorts } from '../emulators/process/free-ports.ts';
import { isSkipped, isSkippedInCiToo } from './support/skipped.ts';
import { until } from './support/until.ts';

const ROOT = join(import.meta.dirname, '..');
const KEY = Buffer.from(Array.from({ length: 32 }, (_, index) => index * 7));
const SECRET = `whsec_${KEY.toString('base64')}`;
const BODY =
  '{"type":"budget.low","timestamp":"2026-01-31T12:00:00.000Z","data":{"advertiserName":"Café 100 %"}}';

const works = (command: string, ...args: string[]) => spawnSync(command, args).status === 0;

function sign(timestamp: number, { id = 'evt_1', body = BODY, key = KEY } = {}): string {
  return `v1,${createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64')}`;
}

const verifiers = [
  {
    name: 'verify_webhook.py',
    program: 'python3',
    skipped: isSkipped(
      works('python3', '--version')
        ? null
        : 'python3 is missing: install it to test examples/verify_webhook.py',
    ),
  },
  {
    name: 'verify_webhook.sh',
    program: 'sh',
    skipped: isSkipped(
      works('openssl', 'version')
        ? null
        : 'openssl is missing: install it to test examples/verify_webhook.sh',
    ),
  },
  {
    name: 'verify_webhook.php',
    program: 'php',
    skipped: isSkippedInCiToo(
      works('php', '--version') ? null : 'php is missing: install it to test examples/verify_webhook.php',
    ),
  },
];

describe.each(verifiers)('examples/$name', ({ name, program, skipped }) => {
  const verify = (timestamp: number | string, signature: string, body = BODY) => {
    const args = [`examples/${name}`, 'evt_1', String(timestamp), signature];
    const env = { ...process.env, WEBHOOK_SECRET: SECRET };
    const { status, stdout, stderr } = spawnSync(program, args, {
      cwd: ROOT,
      env,
      input: body,
      encoding: 'utf8',
    });
    return [status, stdout.trim(), stderr.trim()];
  };
  const now = Math.floor(Date.now() / 1_000);
  const other = sign(now, { key: Buffer.alloc(32, 9) });

  it.skipIf(skipped)('accepts a signature, also one of two', () => {
    expect(verify(now, sign(now))).toEqual([0, 'valid', '']);
    expect(verify(now, `${other} ${sign(now)}`)).toEqual([0, 'valid', '']);
  });

  it.skipIf(skipped)('refuses another key, id, time and body', () => {
    const refused = [1, '', 'not valid'];
    expect(verify(now, other)).toEqual(refused);
    expect(verify(now, sign(now, { id: 'evt_2' }))).toEqual(refused);
    expect(verify(now, sign(now), `${BODY} `)).toEqual(refused);
    expect(verify(now - 600, sign(now - 600))).toEqual(refused);
    expect(verify(now + 600, sign(now + 600))).toEqual(refused);
    expect(verify('soon', sign(now))).toEqual(refused);
    expect(verify(now, sign(now).replace('v1,', 'v2,'))).toEqual(refused);
  });
});

describe('examples/verify_webhook.mjs', () => {
  it('handles an event that comes twice once, and refuses another secret', async () => {
    const [port = 0] = await freePorts(1);
    const env = { ...process.env, WEBHOOK_SECRET: SECRET };
    const args = ['examples/verify_webhook.mjs', String(port)];
    const child = spawn(process.execPath, args, { cwd: ROOT, env, stdio: ['ignore', 'pipe', 'inherit'] });
    onTestFinished(async () => {
      child.kill();
      await once(child, 'exit');
    });
    let printed = '';
    child.stdout.setEncoding('utf8').on('data', (text) => {
      printed += text;
    });
    await until('the port', () => printed.includes('listening'));
    const attempt = (secret: string) =>
      send(
        { url: `http://localhost:${port}/`, secrets: [secret] },
        { id: 'evt_1', body: BODY },
        { rule: 'private', resolve: resolvePrivate, signal: new AbortController().signal },
      );
    expect(await attempt(SECRET)).toMatchObject({ statusCode: 204, error: null });
    expect(await attempt(SECRET)).toMatchObject({ statusCode: 204, error: null });
    expect(await attempt(`whsec_${Buffer.alloc(32, 9).toString('base64')}`)).toMatchObject({
      statusCode: 401,
    });
    expect(printed).toBe('listening\nbudget.low {"advertiserName":"Café 100 %"}\n');
  });
});
