import { AggregatorRegistry, Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';

/**
 * Every metric there is, in one place. No label takes a value that a client sends: outcomes, reasons and
 * answers are closed lists, advertisers are the rows of a table. The README's table is checked against this.
 */
function declareMetrics(registries: { adServer: Registry; processor: Registry; both: Registry }) {
  const latencySeconds = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1];
  const waitSeconds = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800];
  return {
    // Ad server
    redirects: new Counter({
      name: 'tollway_redirects_total',
      help: 'Answers on the public port, by kind',
      labelNames: ['answer'],
      registers: [registries.adServer],
    }),
    redirectDuration: new Histogram({
      name: 'tollway_redirect_duration_seconds',
      help: 'Time from a parsed request to its answer, the spool write included',
      buckets: latencySeconds,
      registers: [registries.adServer],
    }),
    clicksAccepted: new Counter({
      name: 'tollway_clicks_accepted_total',
      help: 'Clicks written to the spool',
      labelNames: ['kind'],
      registers: [registries.adServer],
    }),
    clicksUnrecorded: new Counter({
      name: 'tollway_clicks_unrecorded_total',
      help: 'Clicks the spool could not take (full or broken)',
      registers: [registries.adServer],
    }),
    unknownAds: new Counter({
      name: 'tollway_unknown_ads_total',
      help: 'Well signed links to an ad that the catalogue does not know',
      registers: [registries.adServer],
    }),
    spoolBytes: new Gauge({
      name: 'tollway_spool_bytes',
      help: 'Bytes that the spools hold on disk',
      registers: [registries.adServer],
    }),
    spoolOldestAge: new Gauge({
      name: 'tollway_spool_oldest_click_age_seconds',
      help: 'Age of the oldest click that is not yet with the broker',
      registers: [registries.adServer],
      aggregator: 'max',
    }),
    spoolDamaged: new Counter({
      name: 'tollway_spool_damaged_records_total',
      help: 'Spooled clicks that could not be read back',
      registers: [registries.adServer],
    }),
    relayBatches: new Counter({
      name: 'tollway_relay_batches_total',
      help: 'Attempts of the relay to publish a batch',
      labelNames: ['result'],
      registers: [registries.adServer],
    }),
    relayedClicks: new Counter({
      name: 'tollway_relayed_clicks_total',
      help: 'Clicks that the broker has confirmed',
      registers: [registries.adServer],
    }),
    catalogAge: new Gauge({
      name: 'tollway_catalog_age_seconds',
      help: 'Time since the ad catalogue was last known to be true',
      registers: [registries.adServer],
      aggregator: 'max',
    }),
    catalogAds: new Gauge({
      name: 'tollway_catalog_ads',
      help: 'Ads in the catalogue',
      registers: [registries.adServer],
      aggregator: 'max',
    }),
    // Processor
    clicks: new Counter({
      name: 'tollway_clicks_total',
      help: 'Clicks settled, by outcome and reason',
      labelNames: ['outcome', 'reason'],
      registers: [registries.processor],
    }),
    duplicates: new Counter({
      name: 'tollway_duplicate_clicks_total',
      help: 'Clicks delivered again; they change nothing',
      registers: [registries.processor],
    }),
    batchSize: new Histogram({
      name: 'tollway_batch_size_clicks',
      help: 'Clicks in one batch of the handler',
      buckets: [1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000],
      registers: [registries.processor],
    }),
    batchDuration: new Histogram({
      name: 'tollway_batch_duration_seconds',
      help: 'Time the handler took for one batch',
      buckets: waitSeconds,
      registers: [registries.processor],
    }),
    batchRetries: new Counter({
      name: 'tollway_batch_retries_total',
      help: 'Batches that the handler has to take again',
      labelNames: ['cause'],
      registers: [registries.processor],
    }),
    clickToCharge: new Histogram({
      name: 'tollway_click_to_charge_seconds',
      help: 'Time from a click to its row in the ledger',
      buckets: waitSeconds,
      registers: [registries.processor],
    }),
    deadLetters: new Gauge({
      name: 'tollway_dead_letters',
      help: 'Rejected records that wait for an operator',
      registers: [registries.processor],
    }),
    foreignRecords: new Counter({
      name: 'tollway_foreign_records_total',
      help: 'Records in the broker that are not clicks of ours; kept as dead letters, outside the books',
      registers: [registries.processor],
    }),
    overDelivery: new Counter({
      name: 'tollway_over_delivery_total',
      help: 'Value of unbraked over_budget clicks, in units of the currency',
      labelNames: ['currency'],
      registers: [registries.processor],
    }),
    budgetRemaining: new Gauge({
      name: 'tollway_advertiser_budget_remaining',
      help: 'What is left of the budget, in units of the currency',
      labelNames: ['advertiser', 'currency'],
      registers: [registries.processor],
    }),
    budgetSpent: new Gauge({
      name: 'tollway_advertiser_budget_spent',
      help: 'What was charged so far, in units of the currency',
      labelNames: ['advertiser', 'currency'],
      registers: [registries.processor],
    }),
    lagRecords: new Gauge({
      name: 'tollway_broker_lag_records',
      help: 'Records that wait in the broker; with Kinesis, that are taken and not settled',
      labelNames: ['broker'],
      registers: [registries.processor],
    }),
    lagAge: new Gauge({
      name: 'tollway_broker_oldest_click_age_seconds',
      help: 'Age of the oldest click that waits in the broker; of what other processors have taken, the time it stands still',
      labelNames: ['broker'],
      registers: [registries.processor],
    }),
    brokerLost: new Counter({
      name: 'tollway_broker_lost_records_total',
      help: 'Records that the broker deleted before they were read; with Kinesis, times that this may have happened',
      registers: [registries.processor],
    }),
    // Both
    databaseUp: new Gauge({
      name: 'tollway_database_up',
      help: '1 while the database answers',
      registers: [registries.both],
      aggregator: 'min',
    }),
    brokerUp: new Gauge({
      name: 'tollway_broker_up',
      help: '1 while the broker takes or gives records',
      registers: [registries.both],
      aggregator: 'min',
    }),
  };
}

/** The metrics of one process. Those of another part can be counted, and are not shown. */
export type Metrics = ReturnType<typeof declareMetrics> & { readonly registry: Registry };

/** Makes the metrics of one process, those of Node itself among them. */
export function createMetrics(part: 'ad server' | 'processor' | 'all' = 'all'): Metrics {
  const registry = new Registry();
  const unseen = new Registry();
  collectDefaultMetrics({ register: registry });
  const metrics = declareMetrics({
    adServer: part === 'processor' ? unseen : registry,
    processor: part === 'ad server' ? unseen : registry,
    both: registry,
  });
  // A counter with labels shows nothing until it first counts: alerts would start blind.
  for (const cause of ['transient', 'invariant', 'permanent']) metrics.batchRetries.inc({ cause }, 0);
  for (const result of ['published', 'partly', 'refused', 'failed']) metrics.relayBatches.inc({ result }, 0);
  return { registry, ...metrics };
}

export { AggregatorRegistry };
