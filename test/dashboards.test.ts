import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createEmbeddedMetrics } from '../common/telemetry/embedded-metrics.ts';
import { metricList } from '../common/telemetry/metric-list.ts';
import { createMetrics } from '../common/telemetry/metrics.ts';
import { dashboards } from './support/dashboards.ts';
import { readPage } from './support/markdown.ts';

const targets = dashboards.flatMap(([path, { panels }]) =>
  panels.flatMap(({ title, targets: ofPanel = [] }) => ofPanel.map((target) => ({ path, title, target }))),
);

describe('the dashboards', () => {
  it('are five, each with an id and a title of its own', () => {
    expect(dashboards.map(([, { title }]) => title)).toEqual([
      'Tollway: Budgets',
      'Tollway: Functions',
      'Tollway: Overview',
      'Tollway: Pipeline',
      'Tollway: Redirects',
    ]);
    expect(new Set(dashboards.map(([, { uid }]) => uid)).size).toBe(dashboards.length);
  });

  it.each(dashboards)('%s links the others, and chooses its data source by a variable', (_, dashboard) => {
    expect(dashboard.links).toMatchObject([{ type: 'dashboards', tags: ['tollway'] }]);
    expect(dashboard.tags).toEqual(['tollway']);
    const sources = dashboard.templating.list.filter(({ type }) => type === 'datasource');
    const known = sources.map(({ name }) => `\${${name}}`);
    for (const { datasource, title, type } of dashboard.panels)
      if (type !== 'row') expect(known, title).toContain(datasource?.uid);
  });

  it.each(dashboards)('%s has panels with a description each, which do not overlap', (_, { panels }) => {
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
    const taken = new Set<string>();
    for (const { title, type, description, gridPos } of panels) {
      if (type !== 'row') expect(description, title).toMatch(/\w/);
      expect(gridPos.x + gridPos.w, title).toBeLessThanOrEqual(24);
      for (let x = gridPos.x; x < gridPos.x + gridPos.w; x += 1)
        for (let y = gridPos.y; y < gridPos.y + gridPos.h; y += 1) {
          expect(taken.has(`${x} ${y}`), title).toBe(false);
          taken.add(`${x} ${y}`);
        }
    }
  });

  it.each(dashboards.map(([path]) => path))(
    '%s names only metrics and recorded series that exist',
    async (path) => {
      const { registry } = createMetrics();
      const known = new Set((await registry.getMetricsAsJSON()).map(({ name }) => name));
      const recorded = new Set(
        [...readPage('deploy/prometheus/recording.yml').matchAll(/- record: (\S+)/g)].map(([, name]) => name),
      );
      const text = readPage(path);
      const series = text.match(/(?:\w+:)?\btollway_\w+:\w+/g) ?? [];
      expect(series.filter((name) => !recorded.has(name))).toEqual([]);
      const named =
        text.replaceAll(/(?:\w+:)?\btollway_\w+:\w+/g, '').match(/\b(?:tollway|process|nodejs)_\w+/g) ?? [];
      expect(named.length).toBeGreaterThan(5);
      const isKnown = (name: string) =>
        known.has(name) || known.has(name.replace(/_(bucket|sum|count)$/, ''));
      expect(named.filter((name) => !isKnown(name))).toEqual([]);
    },
  );

  it('have the names of advertisers wherever a query is by advertiser', () => {
    const byAdvertiser = targets.filter(({ target: { expr = '' } }) =>
      /^(?:bottomk|topk)?\(?.*by \(advertiser\b/.test(expr),
    );
    expect(byAdvertiser.length).toBeGreaterThan(5);
    for (const { title, target } of byAdvertiser)
      expect(target.expr, title).toMatch(/group_left \(name\)|^(60 \* )?sum by \(currency\)|^count\(|name=~/);
  });
});

describe('the dashboard Functions', () => {
  const lines: string[] = [];
  beforeEach(() => {
    lines.length = 0;
    // Powertools otherwise writes to standard output past the console.
    vi.stubEnv('POWERTOOLS_DEV', 'true');
    vi.stubEnv('POWERTOOLS_METRICS_DISABLED', 'false');
    vi.spyOn(console, 'log').mockImplementation((line: string) => void lines.push(line));
  });
  afterEach(() => {
    vi.restoreAllMocks();
    vi.unstubAllEnvs();
  });

  it('asks CloudWatch for metrics with the dimensions that functions write', () => {
    const written = new Set<string>();
    for (const isEmpty of [false, true]) writeAll(isEmpty);
    for (const line of lines) {
      // A line of the embedded metric format.
      const { _aws } = JSON.parse(line) as {
        _aws: {
          CloudWatchMetrics: { Namespace: string; Dimensions: string[][]; Metrics: { Name: string }[] }[];
        };
      };
      for (const { Namespace, Dimensions, Metrics } of _aws.CloudWatchMetrics)
        for (const dimensions of Dimensions)
          for (const { Name } of Metrics) written.add(`${Namespace} ${Name} ${dimensions.toSorted()}`);
    }
    const queried = targets.flatMap(({ target }) =>
      target.namespace === 'Tollway'
        ? [`Tollway ${target.metricName} ${Object.keys(target.dimensions ?? {}).toSorted()}`]
        : [],
    );
    expect(queried.length).toBeGreaterThan(10);
    expect(queried.filter((metric) => !written.has(metric))).toEqual([]);
  });

  /** Writes a value of every metric, once with all labels, and once with the last one empty. */
  function writeAll(isEmpty: boolean): void {
    const metrics = createEmbeddedMetrics('tollway-lambda-kinesis');
    for (const [key, declaration] of Object.entries(metricList)) {
      const names = 'labelNames' in declaration ? declaration.labelNames : [];
      const labels = Object.fromEntries(
        names.map((name, index) => [name, isEmpty && index > 0 && index === names.length - 1 ? '' : 'x']),
      );
      // Each object has the methods of all kinds.
      const metric = metrics[key as keyof typeof metricList] as unknown as {
        inc: (labels: object, by: number) => void;
      };
      metric.inc(labels, 1);
    }
    metrics.flush();
  }
});
