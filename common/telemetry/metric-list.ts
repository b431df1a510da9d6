/** The declarations of all metrics. Longer than 350 lines because it is one list, which tests compare with `docs/metrics.md`. */

/** The component that a metric belongs to. */
export type MetricComponent = 'ad server' | 'processor' | 'console' | 'all' | 'function';

/** The declaration of a metric. The name ends with the unit. */
type Declaration = {
  readonly name: string;
  readonly help: string;
  readonly component: MetricComponent;
} & (
  | {
      readonly kind: 'counter';
      readonly labelNames?: readonly string[];
      /** All combinations of label values, if they are a closed list: each starts at 0. */
      readonly combinations?: readonly (readonly string[])[];
      /** Label values that only one component has. */
      readonly onlyOf?: Readonly<Record<string, MetricComponent>>;
    }
  | {
      readonly kind: 'gauge';
      readonly labelNames?: readonly string[];
      /** How the values of several workers are combined; by default they are summed. */
      readonly aggregator?: 'max' | 'min';
    }
  | { readonly kind: 'histogram'; readonly buckets: readonly number[] }
);

const latencySeconds = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1];
const waitSeconds = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800];

/**
 * All metrics. No label has a value that a client sends: outcomes, reasons and answers are closed lists, advertisers are rows of a table. A
 * test compares docs/metrics.md with this list.
 */
export const metricList = {
  connections: {
    kind: 'gauge',
    name: 'tollway_connections',
    help: 'Open connections, by port',
    labelNames: ['port'],
    component: 'all',
  },
  connectionsMax: {
    kind: 'gauge',
    name: 'tollway_connections_max',
    help: 'Maximum open connections, by port; follows from the limit of open files (`ulimit -n`)',
    labelNames: ['port'],
    component: 'all',
  },
  connectionsDisplaced: {
    kind: 'counter',
    name: 'tollway_connections_displaced_total',
    help: 'Connections closed because the port (`full`) or one source address (`source`) had reached its limit: the longest-idle one, or the new one if none was idle',
    labelNames: ['port', 'reason'],
    combinations: ['public', 'operations'].flatMap((port) =>
      ['full', 'source'].map((reason) => [port, reason]),
    ),
    onlyOf: { public: 'ad server' },
    component: 'all',
  },
  consoleRequests: {
    kind: 'counter',
    name: 'tollway_console_requests_total',
    help: 'Requests to the HTTP API, by route, method and status',
    labelNames: ['route', 'method', 'status'],
    component: 'console',
  },
  consoleRequestDuration: {
    kind: 'histogram',
    name: 'tollway_console_request_duration_seconds',
    help: 'Time from a request to the HTTP API to its response',
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
    component: 'console',
  },
  // Ad server
  redirects: {
    kind: 'counter',
    name: 'tollway_redirects_total',
    help: 'Responses on the public port, by kind',
    labelNames: ['answer'],
    combinations: [
      ['redirect'],
      ['page'],
      ['not_found'],
      ['unknown_ad'],
      ['prefetch'],
      ['refused'],
      ['wrong_method'],
      ['bad_request'],
    ],
    component: 'ad server',
  },
  redirectDuration: {
    kind: 'histogram',
    name: 'tollway_redirect_duration_seconds',
    help: 'Time from a parsed request to its response, including the spool write',
    buckets: latencySeconds,
    component: 'ad server',
  },
  clicksAccepted: {
    kind: 'counter',
    name: 'tollway_clicks_accepted_total',
    help: 'Clicks written to the spool; with the redirect function, clicks confirmed by the broker',
    labelNames: ['kind'],
    combinations: [['impression'], ['evergreen']],
    component: 'ad server',
  },
  clicksUnrecorded: {
    kind: 'counter',
    name: 'tollway_clicks_unrecorded_total',
    help: 'Clicks not recorded because the spool was full or broken; with the redirect function, clicks not confirmed in time',
    component: 'ad server',
  },
  unknownAds: {
    kind: 'counter',
    name: 'tollway_unknown_ads_total',
    help: 'Requests with a valid link to an ad that is not in the catalog',
    component: 'ad server',
  },
  hiddenAgents: {
    kind: 'counter',
    name: 'tollway_hidden_user_agents_total',
    help: "Clicks whose User-Agent a CDN replaced with its own name (`Amazon CloudFront`). Configure the CDN to forward the visitor's User-Agent",
    component: 'ad server',
  },
  spoolBytes: {
    kind: 'gauge',
    name: 'tollway_spool_bytes',
    help: 'Bytes of the spools on disk',
    component: 'ad server',
  },
  spoolOldestAge: {
    kind: 'gauge',
    name: 'tollway_spool_oldest_click_age_seconds',
    help: 'Age of the oldest click that is not published yet',
    component: 'ad server',
    aggregator: 'max',
  },
  spoolDamaged: {
    kind: 'counter',
    name: 'tollway_spool_damaged_records_total',
    help: 'Spooled clicks that could not be read',
    component: 'ad server',
  },
  spoolTornBytes: {
    kind: 'counter',
    name: 'tollway_spool_torn_bytes_total',
    help: 'Bytes after the last complete click of adopted spools: clicks that a crash of the host truncated',
    component: 'ad server',
  },
  relayBatches: {
    kind: 'counter',
    name: 'tollway_relay_batches_total',
    help: 'Attempts of the relay to publish a batch, by result',
    labelNames: ['result'],
    combinations: [['published'], ['partly'], ['refused'], ['failed']],
    component: 'ad server',
  },
  relayedClicks: {
    kind: 'counter',
    name: 'tollway_relayed_clicks_total',
    help: 'Clicks published by the relay and confirmed by the broker',
    component: 'ad server',
  },
  catalogAge: {
    kind: 'gauge',
    name: 'tollway_catalog_age_seconds',
    help: 'Time since the ad catalog was last up to date; without a catalog, time since the process started',
    component: 'ad server',
    aggregator: 'max',
  },
  catalogAds: {
    kind: 'gauge',
    name: 'tollway_catalog_ads',
    help: 'Ads in the catalog',
    component: 'ad server',
    aggregator: 'max',
  },
  // Processor
  clicks: {
    kind: 'counter',
    name: 'tollway_clicks_total',
    help: 'Clicks settled, by outcome and reason',
    labelNames: ['outcome', 'reason'],
    combinations: [
      ['charged', ''],
      ['over_budget', 'budget'],
      ['over_budget', 'cap'],
      ['over_budget', 'daily_cap'],
      ['over_budget', 'pace'],
      ['invalid', 'bot'],
      ['invalid', 'not_navigation'],
      ['invalid', 'expired'],
      ['invalid', 'paused'],
      ['invalid', 'not_running'],
      ['invalid', 'double_click'],
      ['invalid', 'repeat'],
      ['rejected', 'malformed'],
      ['rejected', 'unknown_version'],
      ['rejected', 'unknown_ad'],
      ['rejected', 'wrong_advertiser'],
      ['rejected', 'too_old'],
      ['rejected', 'id_out_of_range'],
      ['rejected', 'nonce_out_of_range'],
      ['rejected', 'poison'],
    ],
    component: 'processor',
  },
  duplicates: {
    kind: 'counter',
    name: 'tollway_duplicate_clicks_total',
    help: 'Clicks delivered again; they change nothing',
    component: 'processor',
  },
  batchSize: {
    kind: 'histogram',
    name: 'tollway_batch_size_clicks',
    help: 'Clicks in one batch of the handler, without watermarks',
    buckets: [1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000],
    component: 'processor',
  },
  batchDuration: {
    kind: 'histogram',
    name: 'tollway_batch_duration_seconds',
    help: 'Time that the handler took for one batch',
    buckets: waitSeconds,
    component: 'processor',
  },
  batchRetries: {
    kind: 'counter',
    name: 'tollway_batch_retries_total',
    help: 'Failed batches that the handler retries, by cause',
    labelNames: ['cause'],
    combinations: [['transient'], ['invariant'], ['permanent']],
    component: 'processor',
  },
  clickToCharge: {
    kind: 'histogram',
    name: 'tollway_click_to_charge_seconds',
    help: 'Time from a click to its row in the ledger',
    buckets: waitSeconds,
    component: 'processor',
  },
  deadLetters: {
    kind: 'gauge',
    name: 'tollway_dead_letters',
    help: 'Rejected records that wait for an operator',
    component: 'processor',
  },
  foreignRecords: {
    kind: 'counter',
    name: 'tollway_foreign_records_total',
    help: 'Records in the broker that are not clicks of Tollway; stored as dead letters and not part of the reconciliation',
    component: 'processor',
  },
  overDelivery: {
    kind: 'counter',
    name: 'tollway_over_delivery_total',
    help: 'Value of over_budget clicks that the ad server sent while the budget-exhausted flag was off, in units of the currency',
    labelNames: ['advertiser', 'currency'],
    component: 'processor',
  },
  budgetRemaining: {
    kind: 'gauge',
    name: 'tollway_advertiser_budget_remaining',
    help: 'Remaining budget, in units of the currency',
    labelNames: ['advertiser', 'currency'],
    component: 'processor',
  },
  budgetSpent: {
    kind: 'gauge',
    name: 'tollway_advertiser_budget_spent',
    help: 'Amount charged so far, in units of the currency',
    labelNames: ['advertiser', 'currency'],
    component: 'processor',
  },
  advertiserInfo: {
    kind: 'gauge',
    name: 'tollway_advertiser_info',
    help: 'Always 1. The labels hold name, status and currency of an advertiser; join on `advertiser`',
    labelNames: ['advertiser', 'name', 'status', 'currency'],
    component: 'processor',
  },
  campaignPlanned: {
    kind: 'gauge',
    name: 'tollway_campaign_daily_planned_ratio',
    help: 'Share of the daily cap that may be spent by now, for campaigns with pacing',
    labelNames: ['campaign', 'advertiser'],
    component: 'processor',
  },
  campaignSpent: {
    kind: 'gauge',
    name: 'tollway_campaign_daily_spent_ratio',
    help: 'Share of the daily cap that is spent, for campaigns with pacing',
    labelNames: ['campaign', 'advertiser'],
    component: 'processor',
  },
  campaignAhead: {
    kind: 'gauge',
    name: 'tollway_campaign_ahead',
    help: '1 while a campaign with pacing has spent more than its plan; with `hold`, ad servers then send its visitors to the fallback URL',
    labelNames: ['campaign', 'advertiser'],
    component: 'processor',
  },
  settlementBlocked: {
    kind: 'gauge',
    name: 'tollway_settlement_blocked',
    help: '1 while clicks cannot be settled; `/readyz` and the log have the reason',
    component: 'processor',
  },
  clicksSetAside: {
    kind: 'gauge',
    name: 'tollway_clicks_set_aside',
    help: 'Clicks kept in memory because another session has locked rows of their advertiser; they are charged when it releases them. With the Postgres broker, they wait in the broker instead',
    component: 'processor',
  },
  lagRecords: {
    kind: 'gauge',
    name: 'tollway_broker_lag_records',
    help: 'Records that wait in the broker; with Kinesis, records that were read and are not settled. Absent while the broker does not answer',
    labelNames: ['broker'],
    component: 'processor',
  },
  lagAge: {
    kind: 'gauge',
    name: 'tollway_broker_oldest_click_age_seconds',
    help: 'Age of the oldest click that waits in the broker; for records read by other processors, the time without progress. It keeps growing while the broker does not answer',
    labelNames: ['broker'],
    component: 'processor',
  },
  brokerLost: {
    kind: 'counter',
    name: 'tollway_broker_lost_records_total',
    help: 'Records that the broker deleted before they were read; with Kinesis, the number of times that this may have happened',
    component: 'processor',
  },
  checkpointFailures: {
    kind: 'counter',
    name: 'tollway_checkpoint_failures_total',
    help: 'Failed attempts to write the checkpoints of Kafka or Kinesis; a processor tries twice a second',
    component: 'processor',
  },
  rolledTo: {
    kind: 'gauge',
    name: 'tollway_reports_as_of_timestamp_seconds',
    help: 'Unix time that reports are complete for: all clicks that were settled before it are in them',
    component: 'processor',
    aggregator: 'max',
  },
  // Webhooks
  webhookDeliveries: {
    kind: 'counter',
    name: 'tollway_webhook_deliveries_total',
    help: 'Attempts to deliver an event to a webhook, by result: `delivered`, `retry` (made again later), `failed` (given up; events that were given up without an attempt count too)',
    labelNames: ['result'],
    combinations: [['delivered'], ['retry'], ['failed']],
    component: 'console',
  },
  webhookBacklog: {
    kind: 'gauge',
    name: 'tollway_webhook_backlog',
    help: 'Deliveries that wait, by state of their webhook: `ok`, `failing` (its latest attempt failed), `paused`. Each console reports the same number',
    labelNames: ['state'],
    aggregator: 'max',
    component: 'console',
  },
  webhookOldestAge: {
    kind: 'gauge',
    name: 'tollway_webhook_oldest_delivery_age_seconds',
    help: 'Age of the oldest delivery that waits, by state of its webhook. Each console reports the same number',
    labelNames: ['state'],
    aggregator: 'max',
    component: 'console',
  },
  // Scheduled functions
  reconciliationProblems: {
    kind: 'gauge',
    name: 'tollway_books_problems',
    help: 'Problems that the reconcile function found in the ledger',
    component: 'function',
  },
  missingClicks: {
    kind: 'gauge',
    name: 'tollway_missing_clicks',
    help: 'Accepted clicks that were still not settled after the reconcile function waited for them',
    component: 'function',
  },
  // Both
  databaseUp: {
    kind: 'gauge',
    name: 'tollway_database_up',
    help: '1 while the database answers; absent before the first query',
    component: 'all',
    aggregator: 'min',
  },
  brokerUp: {
    kind: 'gauge',
    name: 'tollway_broker_up',
    help: '1 while the broker accepts or returns records; absent before the first request',
    component: 'all',
    aggregator: 'min',
  },
} as const satisfies Readonly<Record<string, Declaration>>;

type List = typeof metricList;
/** The labels that a declaration names. */
export type LabelsOf<D> = D extends { readonly labelNames: readonly (infer L extends string)[] } ? L : never;
type Labels<L extends string> = Readonly<Partial<Record<L, string | number>>>;

export type Counter<L extends string> = {
  inc(labels: Labels<L>, count?: number): void;
  inc(count?: number): void;
};
export type Gauge<L extends string> = {
  set(labels: Labels<L>, value: number): void;
  set(value: number): void;
};
export type Histogram = { observe(value: number): void };

/** The metrics, independent of their implementation: Prometheus' client in a process, log lines in a function. */
export type Metrics = {
  readonly [K in keyof List]: List[K] extends { readonly kind: 'counter' }
    ? Counter<LabelsOf<List[K]>>
    : List[K] extends { readonly kind: 'gauge' }
      ? Gauge<LabelsOf<List[K]>>
      : Histogram;
};
