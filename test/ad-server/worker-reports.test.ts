import { describe, expect, it } from 'vitest';
import { adServerNumbers } from '../../ad-server/part-numbers.ts';
import { WorkerReports } from '../../ad-server/worker-reports.ts';
import { parseConfig } from '../../common/config/config.ts';
import { metricReader } from '../../common/telemetry/metric-reader.ts';
import { createMetrics, type ProcessMetrics } from '../../common/telemetry/metrics.ts';

/** A worker as `report` sends it: as JSON. */
async function reportOf({ registry }: ProcessMetrics) {
  return JSON.parse(
    JSON.stringify({ problems: [], warnings: [], metrics: await registry.getMetricsAsJSON() }),
  );
}

/** The reports of workers that have each lost 25 clicks, taken 10 redirects and have 1 000 bytes in their spools. */
async function startReports(workerCount: number): Promise<WorkerReports> {
  const reports = new WorkerReports(workerCount);
  for (let id = 1; id <= workerCount; id += 1) reports.receive(id, await reportOf(workerMetrics()));
  return reports;
}

function workerMetrics(): ProcessMetrics {
  const metrics = createMetrics('ad server');
  metrics.clicksUnrecorded.inc(25);
  metrics.spoolBytes.set(1_000);
  for (let count = 0; count < 10; count += 1) metrics.redirectDuration.observe(0.001);
  return metrics;
}

const valuesOf = async (reports: WorkerReports) => {
  const { sum, histogram } = metricReader(reports.registry());
  const { values } = await histogram('tollway_redirect_duration_seconds');
  return {
    unrecorded: await sum('tollway_clicks_unrecorded_total'),
    redirects: values.find(({ metricName }) => metricName?.endsWith('_count'))?.value,
    spoolBytes: await sum('tollway_spool_bytes'),
  };
};

describe('the metrics of an ad server whose worker exits', () => {
  it('keep what the worker has counted, and forget its gauges', async () => {
    const reports = await startReports(4);
    expect(await valuesOf(reports)).toEqual({ unrecorded: 100, redirects: 40, spoolBytes: 4_000 });
    reports.remove(1);
    expect(await valuesOf(reports)).toEqual({ unrecorded: 100, redirects: 40, spoolBytes: 3_000 });
    reports.remove(2);
    reports.remove(2);
    reports.receive(5, await reportOf(workerMetrics()));
    expect(await valuesOf(reports)).toEqual({ unrecorded: 125, redirects: 50, spoolBytes: 3_000 });
    for (const id of [3, 4, 5]) reports.remove(id);
    expect(await valuesOf(reports)).toEqual({ unrecorded: 125, redirects: 50, spoolBytes: null });
    expect(await reports.metrics()).toContain('tollway_clicks_unrecorded_total 125');
  });

  it('forget the times of its process: the alert TollwayPartRestarts counts how often they fall', async () => {
    const reports = await startReports(2);
    const cpuSeconds = () => metricReader(reports.registry()).sum('process_cpu_seconds_total');
    expect(await cpuSeconds()).not.toBeNull();
    reports.remove(1);
    reports.remove(2);
    expect(await cpuSeconds()).toBeNull();
  });

  it('do not count unrecorded clicks of long ago as recent', async () => {
    const reports = await startReports(4);
    const numbers = adServerNumbers(reports.registry, parseConfig({ AD_SERVER_WORKERS: '4' }));
    expect(await numbers()).toMatchObject({ unrecorded: 100, unrecordedRecently: 100 });
    reports.remove(1);
    expect(await numbers()).toMatchObject({ unrecorded: 100, unrecordedRecently: 100 });
  });
});

it('The numbers of an ad server count answers to valid links, whatever else is requested', async () => {
  const { registry, redirects } = createMetrics('ad server');
  const numbers = adServerNumbers(() => registry, parseConfig({}));
  await numbers();
  redirects.inc({ answer: 'redirect' }, 7);
  for (const answer of ['prefetch', 'refused', 'unknown_ad']) redirects.inc({ answer });
  for (const answer of ['page', 'not_found', 'wrong_method', 'bad_request']) redirects.inc({ answer }, 1_000);
  expect(await numbers()).toMatchObject({
    ...{ linksAnsweredRecently: 10, linksRefusedRecently: 2 },
    ...{ requestsRecently: 4_010, linksNotFoundRecently: 1_000 },
  });
});
