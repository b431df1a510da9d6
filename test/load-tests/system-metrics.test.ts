import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, it } from 'vitest';
import type { Stack } from '../../cli/start/stack.ts';
import { createSystemSampler } from '../../load-tests/load/system-metrics.ts';

/** An operations port that answers with these texts, one per request. */
async function serveMetrics(...texts: string[]) {
  const server = createServer((_, response) => response.end(texts.shift())).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { url, close: () => server.close() };
}

const stackOf = (adServerOpsUrl: string, processorOpsUrl: string) =>
  ({ adServerOpsUrl, processorOpsUrl }) as Stack;
const NOWHERE = 'http://127.0.0.1:1';

it('reports null for the metrics of a process that does not answer', async () => {
  const sampler = createSystemSampler(stackOf(NOWHERE, NOWHERE), [1]);
  expect(await sampler.sample()).toMatchObject({
    spoolBytes: null,
    brokerSeconds: null,
    processes: { 'ad server': null, processor: null, 'load generator': { cpuSeconds: expect.any(Number) } },
  });
});

it('reads the budgets of the given advertisers only', async () => {
  const text = [1, 2, 3]
    .map((id) => `tollway_advertiser_budget_remaining{advertiser="${id}"} ${id}.5\n`)
    .join('');
  const processor = await serveMetrics(text);
  const { budgets } = await createSystemSampler(stackOf(NOWHERE, processor.url), [2, 3]).sample();
  expect([...budgets]).toEqual([
    [2, 2.5],
    [3, 3.5],
  ]);
  processor.close();
});
