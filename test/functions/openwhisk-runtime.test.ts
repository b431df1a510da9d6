import { existsSync } from 'node:fs';
import { strToU8, zipSync } from 'fflate';
import { afterEach, describe, expect, it } from 'vitest';
import { type OpenwhiskRuntime, startOpenwhisk } from '../../emulators/openwhisk/runtime.ts';

/**
 * What the original runtime answered to the same actions: apache/openwhisk-runtime-nodejs d7baea7 under Node 20 and 24,
 * which runs here with the `proxy` of startOpenwhisk and its port taken from PORT.
 */
const LIMIT = { timeoutMs: 10_000 };
const running: OpenwhiskRuntime[] = [];

afterEach(async () => {
  await Promise.all(running.splice(0).map((runtime) => runtime.stop()));
});

async function start(
  source: string,
  options: { main?: string; params?: Record<string, unknown>; env?: Record<string, string> } = {},
) {
  const zip = Buffer.from(zipSync({ 'index.js': strToU8(source) }));
  const runtime = await startOpenwhisk({ zip, ...options });
  running.push(runtime);
  return runtime;
}

describe('An OpenWhisk action', () => {
  it('gets bound parameters and those of the run, which take precedence, and is the export named by main', async () => {
    const runtime = await start('exports.count = async (params) => ({ params });', {
      main: 'count',
      params: { topic: 'bound', size: 1 },
    });
    expect(await runtime.run({ topic: 'given', messages: [{ key: null }] }, LIMIT)).toEqual({
      ok: true,
      result: { params: { topic: 'given', size: 1, messages: [{ key: null }] } },
    });
    expect(await runtime.run({}, LIMIT)).toMatchObject({ result: { params: { topic: 'bound' } } });
  });

  it('gets the activation as variables, and no variables of this process', async () => {
    process.env.TOLLWAY_OUTSIDE = 'seen';
    const before = Date.now();
    const runtime = await start('exports.main = () => ({ env: process.env });', { env: { INSIDE: 'seen' } });
    delete process.env.TOLLWAY_OUTSIDE;
    const answer = await runtime.run({}, LIMIT);
    const { env } = (answer as { result: { env: Record<string, string> } }).result;
    expect(env).toMatchObject({ INSIDE: 'seen', __OW_ACTION_NAME: '/guest/tollway/main' });
    expect(env.TOLLWAY_OUTSIDE).toBeUndefined();
    expect(env.__OW_ACTIVATION_ID).toMatch(/^[0-9a-f]{32}$/);
    expect(Number(env.__OW_DEADLINE)).toBeGreaterThanOrEqual(before + LIMIT.timeoutMs);
  });

  it('can run again with its state after a rejected promise, whose error is the answer', async () => {
    const runtime = await start(`let runs = 0;
      exports.main = async () => { runs += 1; throw Object.assign(new TypeError('no ' + runs), { code: 'E', retryable: true }); };`);
    const error = {
      name: 'TypeError',
      code: 'E',
      retryable: true,
      stack: expect.stringContaining('index.js'),
    };
    expect(await runtime.run({}, LIMIT)).toEqual({
      ok: false,
      error: { ...error, message: 'no 1' },
      status: 200,
    });
    expect(await runtime.run({}, LIMIT)).toMatchObject({ error: { message: 'no 2' } });
  });

  it('loses the message of an error that has a null', async () => {
    const runtime = await start(
      `exports.main = async () => { throw Object.assign(new Error('lost'), { id: null }); };`,
    );
    expect(await runtime.run({}, LIMIT)).toEqual({
      ok: false,
      error: "Cannot read properties of null (reading 'pipe')",
      status: 200,
    });
  });

  it('never runs again after a synchronous throw', async () => {
    const runtime = await start(`exports.main = () => { throw new Error('at once'); };`);
    expect(await runtime.run({}, LIMIT)).toEqual({
      ok: false,
      error: 'An error has occurred: Error: at once',
      status: 502,
    });
    expect(await runtime.run({}, LIMIT)).toEqual({
      ok: false,
      error: 'System not ready, status is stopped.',
      status: 403,
    });
  });

  it.each([
    ['process.exit', 'exports.main = () => process.exit(0);'],
    [
      'an uncaught error',
      `exports.main = () => new Promise(() => setTimeout(() => { throw new Error('late'); }, 1));`,
    ],
  ])('has ended after %s', async (_, source) => {
    const runtime = await start(source);
    expect(await runtime.run({}, LIMIT)).toMatchObject({ ok: false, status: 'ended' });
    expect(await runtime.run({}, LIMIT)).toMatchObject({ ok: false, status: 'ended' });
  });

  it.each([
    ['waits', 'new Promise(() => undefined)'],
    ['is busy', '(() => { for (;;); })()'],
  ])('is killed at its deadline when it %s', async (_, expression) => {
    const runtime = await start(`exports.main = () => ${expression};`);
    expect(await runtime.run({}, { timeoutMs: 300 })).toEqual({
      ok: false,
      error: 'The action exceeded its time limits of 300 milliseconds.',
      status: 'timeout',
    });
    expect(() => process.kill(runtime.pid, 0)).toThrow('ESRCH');
  });

  it('runs one activation at a time', async () => {
    const runtime = await start(
      'exports.main = ({ ms }) => new Promise((resolve) => setTimeout(resolve, ms, { ms }));',
    );
    const both = await Promise.all([runtime.run({ ms: 300 }, LIMIT), runtime.run({ ms: 300 }, LIMIT)]);
    expect(both.filter((answer) => answer.ok)).toHaveLength(1);
    expect(both).toContainEqual({ ok: false, error: 'System not ready, status is running.', status: 403 });
    expect(await runtime.run({ ms: 0 }, LIMIT)).toEqual({ ok: true, result: { ms: 0 } });
  });

  it.each([
    ['undefined', '', { ok: true, result: {} }],
    ['an array', '[1]', { ok: true, result: [1] }],
    ['text', '"text"', { ok: false, error: 'The action did not return a dictionary.', status: 502 }],
    ['null', 'null', { ok: false, error: expect.stringContaining('valid JSON'), status: 200 }],
    ['an object with an error', '{ error: 7 }', { ok: false, error: 7, status: 200 }],
    [
      'more than 1 MiB',
      '{ text: "x".repeat(1_048_576) }',
      { ok: false, error: expect.stringContaining('1048576 bytes'), status: 413 },
    ],
  ])('that answers %s has the result of the original runtime', async (_, expression, answer) => {
    const runtime = await start(`exports.main = async () => { return ${expression}; };`);
    expect(await runtime.run({}, LIMIT)).toEqual(answer);
  });

  it('cannot get parameters of more than 1 MiB', async () => {
    const runtime = await start('exports.main = ({ text }) => ({ length: text.length });');
    expect(await runtime.run({ text: 'x'.repeat(1_000_000) }, LIMIT)).toMatchObject({ ok: true });
    expect(await runtime.run({ text: 'x'.repeat(1_048_576) }, LIMIT)).toMatchObject({ status: 413 });
  });

  it('has logs of all activations, by output stream', async () => {
    const runtime = await start(
      `exports.main = ({ n }) => { console.log('out', n); console.error('err', n); };`,
    );
    await runtime.run({ n: 1 }, LIMIT);
    await runtime.run({ n: 2 }, LIMIT);
    expect(runtime.logs()).toEqual({ stdout: 'out 1\nout 2\n', stderr: 'err 1\nerr 2\n' });
  });

  it('continues after a pause', async () => {
    const runtime = await start('let runs = 0; exports.main = () => ({ runs: ++runs });');
    await runtime.run({}, LIMIT);
    runtime.pause();
    const answer = runtime.run({}, LIMIT);
    runtime.resume();
    expect(await answer).toEqual({ ok: true, result: { runs: 2 } });
  });

  it('leaves no process and no folder behind', async () => {
    const runtime = await start('exports.main = () => ({ folder: __dirname });');
    const { result } = (await runtime.run({}, LIMIT)) as { result: { folder: string } };
    expect(existsSync(result.folder)).toBe(true);
    await runtime.stop();
    expect(existsSync(result.folder)).toBe(false);
    expect(() => process.kill(runtime.pid, 0)).toThrow('ESRCH');
  });
});

describe('An OpenWhisk action does not start', () => {
  it.each([
    ['whose export is no function', 'exports.main = 5;', "Action entrypoint 'main' is not a function."],
    ['that is its module', 'module.exports = () => ({});', "Action entrypoint 'main' is not a function."],
    ['with top-level await', 'await 1; export const main = () => ({});', 'ERR_REQUIRE_ASYNC_MODULE'],
    ['that throws when it is loaded', `throw new Error('on load');`, 'Error: on load'],
  ])('%s', async (_, source, message) => {
    await expect(start(source)).rejects.toThrow(message);
  });

  it('without index.js or package.json at its root', async () => {
    const zip = Buffer.from(zipSync({ 'lib/index.js': strToU8('exports.main = () => ({});') }));
    await expect(startOpenwhisk({ zip })).rejects.toThrow('either package.json or index.js');
  });
});
