import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { exportRows, makeLinks, startTraffic } from '../support/clicks.ts';
import { stackEnv, startStack, type TestStack } from '../support/stack.ts';
import { suiteFolder } from '../support/temporary-folder.ts';
import { until } from '../support/until.ts';

/** Waits until each recorded click has one row, then until `reconcile --settled --deep` succeeds. */
async function expectNothingLost(stack: TestStack, recorded: readonly string[]): Promise<void> {
  let missing: string[] = [];
  await until(
    'every recorded click in the ledger',
    async () => {
      const ids = (await exportRows(stack)).map((row) => String(row.clickId));
      const inLedger = new Set(ids);
      expect(inLedger.size).toBe(ids.length);
      missing = recorded.filter((clickId) => !inLedger.has(clickId));
      return missing.length === 0;
    },
    40_000,
  ).catch((error: unknown) => {
    throw new Error(`${missing.length} recorded clicks are missing, such as ${missing[0]}`, { cause: error });
  });
  await until(
    'settled and balanced books',
    async () => (await stack.tollway('reconcile', '--settled', '--deep')).code === 0,
    30_000,
  );
}

describe('kill -9 in the middle of traffic', () => {
  const folder = suiteFolder();
  let stack: TestStack;

  beforeAll(async () => {
    stack = await startStack(await stackEnv(folder));
    await stack.tollway('advertiser', 'top-up', '1', '100000');
  });
  afterAll(async () => {
    await stack.stop();
  });

  it('of everything, ends with every recorded click in the ledger once', { timeout: 120_000 }, async () => {
    const traffic = startTraffic(await makeLinks(stack, 1, 10_000));
    await until('3 000 recorded clicks', () => traffic.recorded.length > 3_000);
    await stack.killTree();
    await traffic.stop();
    expect(traffic.recorded.length).toBeLessThan(10_000);
    stack = await startStack(stack.env);
    await expectNothingLost(stack, traffic.recorded);
  });

  it('of the ad server, of the processor and of PostgreSQL, one after the other, loses nothing', {
    timeout: 120_000,
  }, async () => {
    const traffic = startTraffic(await makeLinks(stack, 1, 60_000), 10);
    const reached = async (count: number) => {
      const goal = traffic.recorded.length + count;
      await until(`${count} more clicks`, () => traffic.recorded.length >= goal, 30_000);
    };
    await reached(1_500);
    process.kill(stack.pidOf('processor/main.ts'), 'SIGKILL');
    await reached(1_500);
    process.kill(stack.pidOf('ad-server/main.ts'), 'SIGKILL');
    await reached(1_500);
    // Redirects wait for nothing but local work: they go on while the database is down.
    process.kill(stack.postmasterPid(), 'SIGKILL');
    await reached(3_000);
    await traffic.stop();
    await until(
      'readiness',
      async () => (await fetch(`${stack.adServerOpsUrl}/readyz`).catch(() => null))?.ok === true,
    );
    await until(
      'a status without problems',
      async () => (await stack.tollway('status', '--json')).code === 0,
    );
    await expectNothingLost(stack, traffic.recorded);
  });
});

describe('kill -9 of one of several workers', () => {
  const folder = suiteFolder();
  let stack: TestStack;
  beforeAll(async () => {
    stack = await startStack(await stackEnv(folder, { AD_SERVER_WORKERS: '2' }));
    await stack.tollway('advertiser', 'top-up', '1', '100000');
  });
  afterAll(async () => {
    await stack.stop();
  });

  it('leaves the other serving, and its spool is taken over', { timeout: 60_000 }, async () => {
    const metrics = await (await fetch(`${stack.adServerOpsUrl}/metrics`)).text();
    expect(metrics).toContain('tollway_redirects_total');
    const traffic = startTraffic(await makeLinks(stack, 1, 20_000), 10);
    await until('1 500 recorded clicks', () => traffic.recorded.length > 1_500);
    const [, worker = 0] = stack.pidsOf('ad-server/main.ts');
    process.kill(worker, 'SIGKILL');
    const goal = traffic.recorded.length + 1_500;
    await until('more recorded clicks', () => traffic.recorded.length > goal);
    await traffic.stop();
    await expectNothingLost(stack, traffic.recorded);
    await until('readiness', async () => (await fetch(`${stack.adServerOpsUrl}/readyz`)).ok);
  });
});
