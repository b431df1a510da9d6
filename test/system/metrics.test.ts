import { spawnSync } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { metricList } from '../../common/telemetry/metric-list.ts';
import { clickLink, makeLinks } from '../support/clicks.ts';
import { isSkipped } from '../support/skipped.ts';
import { stackEnv, startStack, type TestStack } from '../support/stack.ts';
import { suiteFolder } from '../support/temporary-folder.ts';
import { until } from '../support/until.ts';

const folder = suiteFolder();
let stack: TestStack;

beforeAll(async () => {
  stack = await startStack(await stackEnv(folder));
});
afterAll(async () => {
  await stack.stop();
});

type Part = 'ad-server' | 'processor' | 'console';
const PORTS: Readonly<Record<Part, string>> = {
  'ad-server': 'AD_SERVER_OPS_PORT',
  processor: 'PROCESSOR_OPS_PORT',
  console: 'CONSOLE_OPS_PORT',
};

/** The metrics of a part; empty while it does not answer. */
async function scrape(part: Part): Promise<string> {
  const response = await fetch(`http://127.0.0.1:${stack.env[PORTS[part]]}/metrics`).catch(() => null);
  return response?.ok ? response.text() : '';
}

/** The value of a series, such as `tollway_missing_clicks`; `undefined` if it is absent. */
async function seriesValue(part: Part, series: string): Promise<number | undefined> {
  const line = (await scrape(part)).split('\n').find((text) => text.startsWith(`${series} `));
  return line === undefined ? undefined : Number(line.split(' ').at(-1));
}

const CHARGED = 'tollway_advertiser_clicks_total{advertiser="1",currency="USD",outcome="charged"}';

describe('the metrics of npm start', () => {
  it('have the clicks of an advertiser, which continue after the processor was killed', async () => {
    const [first = '', second = ''] = await makeLinks(stack, 1, 2);
    await clickLink(first);
    await until('the click', async () => (await seriesValue('processor', CHARGED)) === 1);
    process.kill(stack.pidOf('processor/main.ts'), 'SIGKILL');
    await clickLink(second);
    await until('the second click', async () => (await seriesValue('processor', CHARGED)) === 2);
  });

  it('have the version, the backlog by partition, the days ahead, and the latest maintenance', async () => {
    for (const part of ['ad-server', 'processor', 'console'] as const)
      expect(await scrape(part)).toMatch(
        new RegExp(`^tollway_build_info\\{component="${part}",version="[\\d.]+",node="v[\\d.]+"\\} 1$`, 'm'),
      );
    const now = Date.now() / 1_000;
    await until(
      'maintenance',
      async () => (await seriesValue('processor', 'tollway_maintenance_timestamp_seconds')) !== undefined,
    );
    expect(await seriesValue('processor', 'tollway_maintenance_timestamp_seconds')).toBeGreaterThan(
      now - 120,
    );
    expect(await seriesValue('processor', 'tollway_partitions_ahead')).toBeGreaterThanOrEqual(6);
    expect(await scrape('processor')).toMatch(
      /^tollway_broker_partition_lag_records\{broker="postgres",partition="\w+"\} 0$/m,
    );
  });

  it('have the reconciliation of the console', { timeout: 120_000 }, async () => {
    // The first one can be earlier than the charges of the clicks above, and the next one is a minute later.
    await until(
      'a reconciliation after all charges',
      async () => (await seriesValue('console', 'tollway_in_flight_clicks')) === 0,
      90_000,
    );
    expect(await seriesValue('console', 'tollway_books_problems')).toBe(0);
    expect(await seriesValue('console', 'tollway_missing_clicks')).toBe(0);
    const at = await seriesValue('console', 'tollway_reconciliation_timestamp_seconds');
    expect(at).toBeGreaterThan(Date.now() / 1_000 - 300);
  });

  const isMissing = spawnSync('promtool', ['--version']).status !== 0;
  it.skipIf(isSkipped(isMissing ? 'promtool is missing: install Prometheus' : null)).each([
    ['ad-server', 10],
    ['processor', 25],
    ['console', 10],
  ] as const)(
    'of the %s have no fault that promtool finds, but in names of prom-client',
    async (part, least) => {
      const input = await scrape(part);
      const names = new Set(Object.values(metricList).map(({ name }) => name as string));
      const exposed = [...input.matchAll(/^# TYPE (\S+)/gm)].map(([, name = '']) => name);
      expect(exposed.filter((name) => names.has(name)).length).toBeGreaterThan(least);
      const { stdout, stderr } = spawnSync('promtool', ['check', 'metrics'], { input, encoding: 'utf8' });
      const faults = `${stdout}${stderr}`.split('\n').filter((line) => line !== '');
      expect(faults.filter((line) => !/^nodejs_/.test(line))).toEqual([]);
    },
  );
});
