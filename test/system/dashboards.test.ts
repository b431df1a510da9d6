import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createPostgresPublisher } from '../../brokers/postgres/publisher.ts';
import { sleep } from '../../common/process.ts';
import { evergreenLink } from '../../contract/link-token.ts';
import { freePorts } from '../../emulators/process/free-ports.ts';
import { type Guard, openGuard } from '../../emulators/process/guarded-process.ts';
import { updateCampaign } from '../../ledger/accounts/campaigns.ts';
import { type DrillStack, startDrillStack } from '../../load-tests/drill/drill-stack.ts';
import { type Prometheus, startPrometheus } from '../../load-tests/drill/prometheus.ts';
import { dashboards, expand } from '../support/dashboards.ts';
import { isSkipped } from '../support/skipped.ts';
import { until } from '../support/until.ts';

const RULES = join(import.meta.dirname, '..', '..', 'deploy', 'prometheus');
/** Time of the spike, in ms. The burn rate of a budget needs half a minute. */
const SPIKE_MS = 40_000;
/** Why a query returns nothing here. Every other query must return data. */
const EMPTY: readonly { readonly query: RegExp; readonly reason: string }[] = [
  { query: /\b(pg|kafka)_/, reason: 'the exporters of PostgreSQL and Kafka are in Docker Compose' },
];

const isMissing = spawnSync('prometheus', ['--version']).status !== 0;
const queries = dashboards.flatMap(([, { title, panels }]) =>
  panels.flatMap((panel) =>
    (panel.targets ?? []).flatMap(({ expr }) =>
      expr === undefined ? [] : [[`${title}, ${panel.title}`, expr] as const],
    ),
  ),
);

describe.skipIf(isSkipped(isMissing ? 'prometheus is missing: install Prometheus' : null))(
  'the dashboards, on a Prometheus that has scraped a spike',
  () => {
    let guard: Guard;
    let stack: DrillStack;
    let prometheus: Prometheus;

    beforeAll(async () => {
      guard = await openGuard(join(tmpdir(), 'tollway-dashboards-'));
      stack = await startDrillStack(guard);
      const [port = 0] = await freePorts(1);
      const rules = Object.fromEntries(
        ['alerts.yml', 'recording.yml'].map((name) => [name, readFileSync(join(RULES, name), 'utf8')]),
      );
      prometheus = await startPrometheus(guard, { port, targets: stack.targets, rules });
      await spike(stack);
      const books = 'tollway_books_problems and on () tollway_advertiser_time_to_exhaustion_seconds';
      await until(
        'a reconciliation and burn rates',
        async () => (await prometheus.query(books)).length > 0,
        90_000,
      );
    }, 240_000);
    afterAll(async () => {
      await stack?.stop();
      await guard?.end();
    }, 30_000);

    it.each(queries)('%s: %s', async (_, query) => {
      const found = await prometheus.queryRange(expand(query), 60);
      const exception = EMPTY.find((known) => known.query.test(query));
      const values = found.flatMap((series) => series.values ?? []).filter(([, value]) => value !== 'NaN');
      if (exception === undefined) expect(values).not.toEqual([]);
      else expect(values, exception.reason).toEqual([]);
    });

    it.each(
      dashboards.flatMap(([, { title, annotations }]) =>
        annotations.list.map(({ name, expr }) => [`${title}, ${name}`, expr] as const),
      ),
    )('takes the query of the annotation %s', async (_, query) => {
      await expect(prometheus.queryRange(expand(query), 60)).resolves.toBeInstanceOf(Array);
    });

    it.each(
      dashboards.flatMap(([, { title, templating }]) =>
        templating.list.flatMap(({ name, query }) => {
          const text = (query as { query?: string }).query;
          const [, series, label] = /^label_values\((.*), (\w+)\)$/.exec(text ?? '') ?? [];
          return series === undefined ? [] : [[`${title}, ${name}`, series, label ?? ''] as const];
        }),
      ),
    )('has values for the variable %s', async (_, series, label) => {
      const found = await prometheus.query(series);
      expect(found.map(({ metric }) => metric[label]).filter(Boolean)).not.toEqual([]);
    });

    it('has data for every recorded series', async () => {
      const names = [...readFileSync(join(RULES, 'recording.yml'), 'utf8').matchAll(/- record: (\S+)/g)];
      expect(names.length).toBeGreaterThan(5);
      for (const [, name = ''] of names) expect(await prometheus.query(name), name).not.toEqual([]);
    });
  },
);

/** Clicks of visitors and of bots on a campaign with caps and a plan, a request to the HTTP API, and a record that is no click. */
async function spike({ addAd, click, pool, send, sign, stack }: DrillStack): Promise<void> {
  const { adId, campaignId } = await addAd('Spike', { budget: '100.00', price: '0.01' });
  await updateCampaign(pool, campaignId, {
    capMicros: 50_000_000n,
    dailyCapMicros: 20_000_000n,
    pacing: 'even',
  });
  await createPostgresPublisher(pool).publish([{ key: 'test', value: Buffer.from('not a click') }]);
  const bots = Array.from({ length: 20 }, () => `/c/${sign(evergreenLink(adId))}`);
  const endAt = performance.now() + SPIKE_MS;
  while (performance.now() < endAt) {
    const visits = [click(adId, 100), send(bots, { 'user-agent': 'Googlebot/2.1' })];
    await Promise.all([...visits, fetch(`${stack.consoleUrl}/v1/status`)]);
    await sleep(500);
  }
}
