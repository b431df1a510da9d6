import { describe, expect, it } from 'vitest';
import { metricList } from '../../common/telemetry/metric-list.ts';
import { createMetrics } from '../../common/telemetry/metrics.ts';
import { readVersion } from '../../common/version.ts';
import { EDGE_INVALID_REASONS } from '../../contract/click-event.ts';
import { REJECT_REASONS } from '../../ledger/charge/dead-letters.ts';
import { productCode } from '../support/source-folders.ts';

/** Counters with label values that are not a closed list. */
const OPEN = new Set([
  'tollway_advertiser_clicks_total',
  'tollway_over_delivery_total',
  'tollway_console_requests_total',
]);
const counters = Object.values(metricList).filter(({ kind }) => kind === 'counter');

describe('a counter', () => {
  it('with one label has each increment once, however often it is read', async () => {
    const { redirects, registry } = createMetrics();
    const countOf = async (answer: string) => {
      const text = await registry.getSingleMetricAsString('tollway_redirects_total');
      return new RegExp(`answer="${answer}"\\} (\\d+)$`, 'm').exec(text)?.[1];
    };
    redirects.inc({ answer: 'redirect' });
    redirects.inc({ answer: 'redirect' }, 2);
    expect([await countOf('redirect'), await countOf('redirect')]).toEqual(['3', '3']);
    redirects.inc({ answer: 'redirect' });
    expect([await countOf('redirect'), await countOf('page')]).toEqual(['4', '0']);
  });

  it.each(counters.map((declaration) => [declaration.name, declaration] as const))(
    '%s starts at 0, for each of its label values',
    async (name, declaration) => {
      const text = await createMetrics().registry.getSingleMetricAsString(name);
      const lines = text.split('\n').filter((line) => line.startsWith(name));
      for (const line of lines) expect(line).toMatch(/ 0$/);
      const combinations = 'combinations' in declaration ? declaration.combinations.length : 1;
      expect(lines).toHaveLength(OPEN.has(name) ? 0 : combinations);
    },
  );

  it.each([
    ['ad server', ['public', 'operations']],
    ['processor', ['operations']],
    ['console', ['operations']],
  ] as const)('of connections has only the ports of the component: %s', async (part, ports) => {
    const { registry } = createMetrics(part);
    const text = await registry.getSingleMetricAsString('tollway_connections_displaced_total');
    const shown = [...text.matchAll(/port="(\w+)"/g)].map(([, port]) => port);
    expect([...new Set(shown)]).toEqual(ports);
  });

  it('of clicks has every outcome with every reason', () => {
    const reasons = (outcome: string) =>
      metricList.clicks.combinations.flatMap(([of, reason]) => (of === outcome ? [reason] : []));
    expect(reasons('invalid').toSorted()).toEqual([...EDGE_INVALID_REASONS, 'repeat'].toSorted());
    expect(reasons('rejected').toSorted()).toEqual([...REJECT_REASONS].toSorted());
    expect(reasons('over_budget')).toEqual(['budget', 'cap', 'daily_cap', 'pace']);
    expect(reasons('charged')).toEqual(['']);
  });
});

describe('the build', () => {
  it.each(['ad server', 'processor', 'console'] as const)(
    'of the component %s has its version',
    async (name) => {
      const text = await createMetrics(name).registry.getSingleMetricAsString('tollway_build_info');
      const component = name.replace(' ', '-');
      expect(text).toContain(
        `tollway_build_info{component="${component}",version="${readVersion()}",node="${process.version}"} 1`,
      );
    },
  );
});

it('Each metric is set by the code', () => {
  const code = productCode(['common/telemetry/declarations/']);
  // `metrics.name`, or `name` taken out of the metrics.
  const isUsed = (name: string) => new RegExp(`(?:\\.|[{,]\\s*)${name}\\b`).test(code);
  expect(Object.keys(metricList).filter((name) => !isUsed(name))).toEqual([]);
});

describe('the event loop', () => {
  it('has a utilization since the last scrape, and nothing polls its delay', async () => {
    const { registry } = createMetrics();
    const read = async () => {
      const text = await registry.getSingleMetricAsString('tollway_event_loop_utilization_ratio');
      return Number(/^tollway_event_loop_utilization_ratio (\S+)$/m.exec(text)?.[1]);
    };
    await read();
    for (const until = performance.now() + 100; performance.now() < until; );
    expect(await read()).toBeGreaterThan(0.9);
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(await read()).toBeLessThan(0.15);
    expect(await registry.metrics()).not.toContain('nodejs_eventloop_lag');
  });
});
