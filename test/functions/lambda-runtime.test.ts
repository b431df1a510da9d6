import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { type Lambda, type LambdaOptions, startLambda } from '../../emulators/lambda/runtime.ts';
import { lambdaRic, ricIsMissing } from '../../emulators/lambda/runtime-client.ts';
import { isSkipped } from '../support/skipped.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { until } from '../support/until.ts';

const skipped = isSkipped(await ricIsMissing());
/** Timeout that includes compiling AWS's runtime client if it is not cached. */
const RUN_MS_MAX = 120_000;

/** A folder with a function, with the content of a zip. */
function functionFolder(source: string): string {
  const folder = temporaryFolder();
  writeFileSync(join(folder, 'index.mjs'), source);
  return folder;
}

async function start(source: string, options: Partial<LambdaOptions> = {}): Promise<Lambda> {
  const lambda = await startLambda({ folder: functionFolder(source), ...options });
  onTestFinished(lambda.stop);
  return lambda;
}

/** The process state in /proc: S for sleeping, T for stopped. */
function stateOf(pid: number): string | undefined {
  return /^State:\s+(\w)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
}

describe.skipIf(skipped)("a Lambda function under AWS's runtime client", { timeout: RUN_MS_MAX }, () => {
  it('gets the event, a context and its environment variables, and answers', async () => {
    const lambda = await start(
      `export const handler = async (event, context) => ({
        event,
        name: context.functionName,
        arn: context.invokedFunctionArn,
        memory: context.memoryLimitInMB,
        left: context.getRemainingTimeInMillis(),
        isInFolder: process.cwd() === process.env.LAMBDA_TASK_ROOT,
        trace: process.env._X_AMZN_TRACE_ID,
        theirs: process.env.OWN_SETTING,
        ours: process.env.VITEST,
      });`,
      { functionName: 'lambda-test', memoryMegabytes: 256, env: { OWN_SETTING: 'two words' } },
    );
    const event = { text: 'żółć €', list: [1, null] };
    const result = await lambda.invoke(event, { deadlineMs: 20_000 });
    expect(result).toEqual({
      answer: {
        event,
        name: 'lambda-test',
        arn: 'arn:aws:lambda:us-east-1:123456789012:function:lambda-test',
        memory: '256',
        left: expect.closeTo(20_000, -4),
        isInFolder: true,
        trace: expect.stringMatching(/^Root=1-/),
        theirs: 'two words',
      },
    });
  });

  it('handles invocations one at a time in the same process', async () => {
    const lambda = await start(`
      let running = 0;
      export const handler = async () => {
        running += 1;
        const together = running;
        await new Promise((resolve) => setTimeout(resolve, 20));
        running -= 1;
        return { pid: process.pid, together };
      };`);
    const pid = lambda.pid();
    const results = await Promise.all([1, 2, 3].map((event) => lambda.invoke(event)));
    expect(results).toEqual(Array(3).fill({ answer: { pid, together: 1 } }));
    expect(lambda.starts()).toBe(1);
    expect(lambda.firstNextMs()).toBeGreaterThan(0);
    const { now, max } = lambda.residentBytes();
    expect(now).toBeGreaterThan(10_000_000);
    expect(max).toBeGreaterThanOrEqual(now);
  });

  it('returns its errors to the caller, and continues', async () => {
    const lambda = await start(`
      export const handler = async ({ message, answerBytes }) => {
        if (message) throw Object.assign(new Error(message), { name: 'OutOfBudget' });
        return 'x'.repeat(answerBytes);
      };`);
    const failed = await lambda.invoke({ message: 'nothing left' });
    const stackTrace = expect.arrayContaining(['OutOfBudget: nothing left']);
    expect(failed).toEqual({
      error: { errorType: 'OutOfBudget', errorMessage: 'nothing left', stackTrace },
    });
    const tooLarge = await lambda.invoke({ answerBytes: 7_000_000 });
    expect(tooLarge).toMatchObject({ error: { errorType: 'Function.ResponseSizeTooLarge' } });
    expect(await lambda.invoke({ answerBytes: 3 })).toEqual({ answer: 'xxx' });
    expect(lambda.starts()).toBe(1);
  });

  it('is killed at its deadline even if it blocks, and starts again', async () => {
    const lambda = await start(
      `export const handler = async ({ spin }) => { while (spin); return process.pid; };`,
    );
    const pid = lambda.pid();
    expect(await lambda.invoke({ spin: true }, { deadlineMs: 150 })).toEqual({
      error: {
        errorType: 'Sandbox.Timedout',
        errorMessage: expect.stringMatching(/^RequestId: \S{36} Error: Task timed out after 0.15 seconds$/),
        stackTrace: [],
      },
    });
    expect(existsSync(`/proc/${pid}`)).toBe(false);
    const { answer } = (await lambda.invoke({})) as { answer: number };
    expect(answer).toBe(lambda.pid());
    expect(answer).not.toBe(pid);
    expect(lambda.starts()).toBe(2);
  });

  it('can end its process: the invocation fails, and the next one starts a new process', async () => {
    const lambda = await start(`
      export const handler = async ({ exit, signal, forever, throwLater }) => {
        if (exit !== undefined) process.exit(exit);
        if (signal) process.kill(process.pid, signal);
        if (throwLater) setTimeout(() => { throw new Error('nobody catches this'); });
        // Node exits when no pending work is left.
        if (forever || throwLater) await new Promise(() => {});
        return 'alive';
      };`);
    const endings: readonly [event: object, ending: RegExp][] = [
      [{ exit: 0 }, / Error: Runtime exited without providing a reason$/],
      [{ exit: 3 }, / Error: Runtime exited with error: exit status 3$/],
      [{ signal: 'SIGSEGV' }, / Error: Runtime exited with error: a signal$/],
      [{ throwLater: true }, / Error: Runtime exited with error: exit status 1$/],
      [{ forever: true }, / Error: Runtime exited without providing a reason$/],
    ];
    for (const [event, ending] of endings) {
      expect(await lambda.invoke(event)).toMatchObject({
        error: { errorType: 'Runtime.ExitError', errorMessage: expect.stringMatching(ending) },
      });
    }
    expect(await lambda.invoke({})).toEqual({ answer: 'alive' });
    expect(lambda.starts()).toBe(1 + endings.length);
    expect(lambda.logs()).toContain('nobody catches this');
  });

  it('that cannot start returns the reason for every invocation', async () => {
    const broken = await start(`throw new TypeError('no DATABASE_URL'); export const handler = 1;`);
    const nameless = await start('export const other = async () => 1;');
    const leaving = await start('process.exit(9); export const handler = async () => 1;');
    expect(broken.firstNextMs()).toBeNull();
    for (const starts of [2, 3]) {
      expect(await broken.invoke({})).toMatchObject({
        error: { errorType: 'TypeError', errorMessage: 'no DATABASE_URL' },
      });
      expect(broken.starts()).toBe(starts);
    }
    expect(await nameless.invoke({})).toMatchObject({ error: { errorType: 'Runtime.HandlerNotFound' } });
    expect(await leaving.invoke({})).toMatchObject({
      error: { errorType: 'Runtime.ExitError', errorMessage: 'Runtime exited with error: exit status 9' },
    });
  });

  it('can be frozen between invocations, and is thawed by the next one', async () => {
    const lambda = await start('export const handler = async () => process.pid;');
    const pid = lambda.pid();
    await lambda.freeze();
    await until('a stopped process', () => stateOf(pid) === 'T');
    expect(await lambda.invoke({})).toEqual({ answer: pid });
    expect(stateOf(pid)).not.toBe('T');
    await lambda.freeze();
    await until('a stopped process', () => stateOf(pid) === 'T');
    lambda.thaw();
    await until('a process that runs', () => stateOf(pid) !== 'T');
    expect(lambda.starts()).toBe(1);
  });

  it('has logs with the output of all its processes', async () => {
    const lambda = await start(`
      export const handler = async ({ exit }) => {
        process.stdout.write('to stdout\\n');
        console.warn('to the console');
        process.stderr.write('to stderr\\n');
        if (exit) process.exit();
      };`);
    await lambda.invoke({ exit: true });
    await lambda.invoke({});
    await lambda.stop();
    const lines = lambda.logs().trimEnd().split('\n');
    const warning = expect.stringMatching(/^\S+Z\t\S{36}\tWARN\tto the console$/);
    expect(lines).toEqual(Array(2).fill(['to stdout', warning, 'to stderr']).flat());
  });

  it('ends when its parent process is killed, even if it is frozen', async () => {
    const folder = functionFolder('export const handler = async () => 1;');
    await lambdaRic();
    const module = JSON.stringify(join(import.meta.dirname, '../../emulators/lambda/runtime.ts'));
    const script = `
      const { startLambda } = await import(${module});
      const lambda = await startLambda({ folder: ${JSON.stringify(folder)} });
      await lambda.freeze();
      console.log(lambda.pid());`;
    const parent = spawn(process.execPath, ['--input-type=module', '--eval', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [pid] = await once(parent.stdout, 'data');
    expect(existsSync(`/proc/${Number(pid)}`)).toBe(true);
    parent.kill('SIGKILL');
    await until('the end of the function', () => !existsSync(`/proc/${Number(pid)}`));
  });
});
