import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { descendants, stackEnv, startStack, type TestStack } from '../support/stack.ts';
import { suiteFolder } from '../support/temporary-folder.ts';
import { until } from '../support/until.ts';

/** Longest time to an answer without a database, in ms, and what the machine may add. */
const ANSWER_MS_MAX = 2_000;
const SLACK_MS = 500;

const folder = suiteFolder();
let stack: TestStack;
let key = '';

beforeAll(async () => {
  stack = await startStack(await stackEnv(folder));
  const { stdout } = await stack.tollway('key', 'create', '--role', 'admin', '--json');
  ({ key } = JSON.parse(stdout));
});
afterAll(async () => {
  await stack.stop();
});

/** Sends a request with the key. `null` if nothing listens. */
async function get(path: string) {
  const beganAt = performance.now();
  const headers = { authorization: `Bearer ${key}` };
  const response = await fetch(`${stack.consoleUrl}${path}`, { headers }).catch(() => null);
  if (!response) return null;
  const body = await response.json();
  return { status: response.status, body, tookMs: performance.now() - beganAt };
}

const isUp = async () => (await get('/v1/advertisers'))?.status === 200;

/** Expects the answer of the API while the database is away, more than once: connections of the pool break one by one. */
async function expectAway(): Promise<void> {
  await until('an answer 503', async () => (await get('/v1/advertisers'))?.status === 503);
  for (const path of ['/v1/advertisers', '/v1/advertisers/1', '/v1/advertisers']) {
    const answer = await get(path);
    expect(answer).toMatchObject({ status: 503, body: { code: 'database_away' } });
    expect(answer?.tookMs).toBeLessThan(ANSWER_MS_MAX + SLACK_MS);
  }
}

describe('the console of npm start', () => {
  it('is named in what npm start prints, and answers', async () => {
    expect(stack.printed()).toContain(`HTTP API     ${stack.consoleUrl}/reference`);
    expect(await get('/v1/advertisers')).toMatchObject({
      status: 200,
      body: { items: [{ name: 'Sample Coffee' }, {}, {}] },
    });
    // The parts report every 2 s: the first reports may be from before they were ready.
    await expect
      .poll(() => get('/v1/status'))
      .toMatchObject({
        status: 200,
        body: { ready: true, health: { adServer: 'ready', processor: 'ready', database: 'ready' } },
      });
  });

  it('lets the browser in that opens the link, once', async () => {
    const [, address = '', login] = /Console +(http:\S+)\/#login=(\S+)/.exec(stack.printed()) ?? [];
    expect(address).toBe(stack.consoleUrl);
    const post = () =>
      fetch(`${stack.consoleUrl}/v1/session`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'sec-fetch-site': 'same-origin' },
        body: JSON.stringify({ login }),
      });
    const response = await post();
    expect(response.status).toBe(201);
    expect(await response.json()).toMatchObject({ name: 'console login', role: 'admin', hasSamples: true });
    const [cookie = ''] = response.headers.getSetCookie();
    expect(cookie).toMatch(`tollway_session_${stack.env.CONSOLE_PORT}=`);
    const [pair = ''] = cookie.split(';');
    const keys = await fetch(`${stack.consoleUrl}/v1/keys`, { headers: { cookie: pair } });
    expect(keys.status).toBe(200);
    expect((await post()).status).toBe(401);
    const { stdout } = await stack.tollway('login');
    expect(stdout).toMatch(`${stack.consoleUrl}/#login=`);
  });

  it('counts its requests', async () => {
    const metrics = await (await fetch(`http://127.0.0.1:${stack.env.CONSOLE_OPS_PORT}/metrics`)).text();
    expect(metrics).toMatch(
      /^tollway_console_requests_total\{route="\/v1\/advertisers",method="GET",status="200"\} \d/m,
    );
    expect(metrics).toMatch(/^tollway_console_request_duration_seconds_count \d/m);
    expect(metrics).not.toContain('tollway_clicks_total');
  });

  it('is started again if it dies, and the other parts go on', async () => {
    const others = ['ad-server/main.ts', 'processor/main.ts'].map(stack.pidOf);
    const pid = stack.pidOf('console/main.ts');
    process.kill(pid, 'SIGKILL');
    await until(
      'a console that answers',
      async () => stack.pidsOf('console/main.ts').some((one) => one !== pid) && isUp(),
    );
    expect(['ad-server/main.ts', 'processor/main.ts'].map(stack.pidOf)).toEqual(others);
  });
});

describe('without a database', () => {
  it('the API answers 503 within 2 s while PostgreSQL is frozen, and 200 again by itself', async () => {
    expect(await isUp()).toBe(true);
    const postmaster = stack.postmasterPid();
    process.kill(postmaster, 'SIGSTOP');
    const stopped = descendants(postmaster);
    for (const pid of stopped) process.kill(pid, 'SIGSTOP');
    try {
      await expectAway();
      const ready = await fetch(`http://127.0.0.1:${stack.env.CONSOLE_OPS_PORT}/readyz`);
      expect(ready.status).toBe(200);
      expect(await ready.text()).toContain('- database: does not answer');
    } finally {
      for (const pid of stopped) process.kill(pid, 'SIGCONT');
    }
    await until('an answer 200', isUp);
  });

  it('the API answers 503 within 2 s while PostgreSQL is dead, and 200 again by itself', async () => {
    const postmaster = stack.postmasterPid();
    // npm start would restart PostgreSQL at once, and cannot while it is stopped itself.
    process.kill(stack.process.pid ?? 0, 'SIGSTOP');
    try {
      for (const pid of [postmaster, ...descendants(postmaster)]) process.kill(pid, 'SIGKILL');
      await expectAway();
    } finally {
      process.kill(stack.process.pid ?? 0, 'SIGCONT');
    }
    await until('an answer 200', isUp, 30_000);
  });
});
