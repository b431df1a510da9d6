import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { exportRows, makeLinks, startTraffic } from '../support/clicks.ts';
import { makeFolder, removeFolder, stackEnv, startStack, type TestStack, waitFor } from '../support/stack.ts';

/** Every recorded click comes to stand in the ledger once, and then the books balance to the last row. */
async function expectNothingLost(stack: TestStack, recorded: readonly string[]): Promise<void> {
  let missing: string[] = [];
  await waitFor(
    async () => {
      const ids = (await exportRows(stack)).map((row) => String(row.clickId));
      const inLedger = new Set(ids);
      expect(inLedger.size).toBe(ids.length);
      missing = recorded.filter((clickId) => !inLedger.has(clickId));
      return missing.length === 0;
    },
    40_000,
    'every recorded click in the ledger',
  ).catch((error: unknown) => {
    throw new Error(`${missing.length} recorded clicks are missing, such as ${missing[0]}`, { cause: error });
  });
  await waitFor(
    async () => (await stack.tollway('reconcile', '--settled', '--deep')).code === 0,
    30_000,
    'settled and balanced books',
  );
}

describe('kill -9 in the middle of traffic', () => {
  const folder = makeFolder();
  let stack: TestStack;

  beforeAll(async () => {
    stack = await startStack(await stackEnv(folder));
    await stack.tollway('advertiser', 'top-up', '1', '100000');
  });
  afterAll(async () => {
    await stack.stop();
    removeFolder(folder);
  });

  it('of everything, ends with every recorded click in the ledger once', { timeout: 120_000 }, async () => {
    const traffic = startTraffic(await makeLinks(stack, 1, 10_000));
    await waitFor(() => traffic.recorded.length > 3_000);
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
      await waitFor(() => traffic.recorded.length >= goal, 30_000, `${count} more clicks`);
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
    await waitFor(async () => (await fetch(`${stack.adServerOpsUrl}/readyz`).catch(() => null))?.ok === true);
    await waitFor(async () => (await stack.tollway('status', '--json')).code === 0);
    await expectNothingLost(stack, traffic.recorded);
  });
});

describe('kill -9 of one of several workers', () => {
  const folder = makeFolder();
  let stack: TestStack;
  beforeAll(async () => {
    stack = await startStack(await stackEnv(folder, { AD_SERVER_WORKERS: '2' }));
    await stack.tollway('advertiser', 'top-up', '1', '100000');
  });
  afterAll(async () => {
    await stack.stop();
    removeFolder(folder);
  });

  it('leaves the other serving, and its spool is taken over', { timeout: 60_000 }, async () => {
    const metrics = await (await fetch(`${stack.adServerOpsUrl}/metrics`)).text();
    expect(metrics).toContain('tollway_redirects_total');
    const traffic = startTraffic(await makeLinks(stack, 1, 20_000), 10);
    await waitFor(() => traffic.recorded.length > 1_500);
    const [, worker = 0] = stack.pidsOf('ad-server/main.ts');
    process.kill(worker, 'SIGKILL');
    const goal = traffic.recorded.length + 1_500;
    await waitFor(() => traffic.recorded.length > goal);
    await traffic.stop();
    await expectNothingLost(stack, traffic.recorded);
    await waitFor(async () => (await fetch(`${stack.adServerOpsUrl}/readyz`)).ok);
  });
});
