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
  const sampler = createSystemSampler(stackOf(NOWHERE, NOWHERE), () =>
    Promise.reject(new Error('no database')),
  );
  expect(await sampler.sample()).toMatchObject({
    budgets: new Map(),
    spoolBytes: null,
    brokerSeconds: null,
    processes: { 'ad server': null, processor: null, 'load generator': { cpuSeconds: expect.any(Number) } },
  });
});

it('reads the metrics of the ad server and the processor, and the budgets', async () => {
  const adServer = await serveMetrics('tollway_spool_bytes{spool="a"} 3\ntollway_spool_bytes{spool="b"} 4\n');
  const processor = await serveMetrics('tollway_broker_lag_records{broker="postgres"} 5\n');
  const budgets = new Map([[2, 2.5]]);
  const sampler = createSystemSampler(stackOf(adServer.url, processor.url), () => Promise.resolve(budgets));
  expect(await sampler.sample()).toMatchObject({ spoolBytes: 7, brokerClicks: 5, budgets });
  adServer.close();
  processor.close();
});
