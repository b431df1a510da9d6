import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createPool } from '../../common/postgres.ts';
import { makeFolder, removeFolder, runToEnd, stackEnv, startStack, type TestStack } from '../setup/stack.ts';

const SMALL = ['spike', '--base', '20', '--factor', '5', '--ramp', '1s', '--hold', '2s', '--json'];

describe('npm run load -- spike', () => {
  const folder = makeFolder();
  let stack: TestStack;
  beforeAll(async () => {
    stack = await startStack(await stackEnv(folder));
  });
  afterAll(async () => {
    await stack.stop();
    removeFolder(folder);
  });

  it('offers what it was asked for, finds every click in the ledger, and passes', {
    timeout: 60_000,
  }, async () => {
    const { code, stdout, stderr } = await runToEnd('load-tests/main.ts', stack.env, ...SMALL);
    expect(stderr).not.toContain('Error');
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ verdict: 'passed' });
  });

  it('fails when a click is missing', { timeout: 60_000 }, async () => {
    const { databaseUrl } = JSON.parse((await stack.tollway('status', '--json')).stdout) as {
      databaseUrl: string;
    };
    const pool = createPool(databaseUrl, 'test', 1, () => {});
    // A handler that settles every fiftieth click and loses its row.
    await pool.query(
      `create function lose() returns trigger language plpgsql as
       'begin if new.sequence % 50 = 0 then return null; end if; return new; end'`,
    );
    await pool.query('create trigger lose before insert on ledger for each row execute function lose()');
    const { code, stdout } = await runToEnd('load-tests/main.ts', stack.env, ...SMALL, '--wait', '3s');
    await pool.query('drop trigger lose on ledger');
    await pool.end();
    expect(code).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({ verdict: 'failed' });
  });
});

it('a spike without a stack is not measured, and says how to have one', async () => {
  const folder = makeFolder();
  const { code, stderr } = await runToEnd('load-tests/main.ts', await stackEnv(folder), ...SMALL);
  removeFolder(folder);
  expect(code).toBe(2);
  expect(stderr).toContain('npm start');
});
