/** Which part of the system a metric tells of. */
export type MetricPart = 'ad server' | 'processor' | 'both' | 'function';

/** What is said of a metric. The unit is the end of its name. */
type Declaration = {
  readonly name: string;
  readonly help: string;
  readonly part: MetricPart;
} & (
  | {
      readonly kind: 'counter';
      readonly labelNames?: readonly string[];
      /** The values of its labels, one list each, where they are closed: it stands at 0 for each from the start. */
      readonly combinations?: readonly (readonly string[])[];
      /** Label values that one part alone can have. */
      readonly onlyOf?: Readonly<Record<string, MetricPart>>;
    }
  | {
      readonly kind: 'gauge';
      readonly labelNames?: readonly string[];
      /** How the values of several workers become one; unset, they are added up. */
      readonly aggregator?: 'max' | 'min';
    }
  | { readonly kind: 'histogram'; readonly buckets: readonly number[] }
);

const latencySeconds = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1];
const waitSeconds = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800];

/**
 * Every metric there is, in one place. No label takes a value that a client sends: outcomes, reasons and
 * answers are closed lists, advertisers are the rows of a table. docs/metrics.md is checked against this.
 */
export const metricList = {
  connections: {
    kind: 'gauge',
    name: 'tollway_connections',
    help: 'Connections that are open, by port',
    labelNames: ['port'],
    part: 'both',
  },
  connectionsMax: {
    kind: 'gauge',
    name: 'tollway_connections_max',
    help: 'Most connections at once, by port; follows from the limit of open files (`ulimit -n`)',
    labelNames: ['port'],
    part: 'both',
  },
  connectionsDisplaced: {
    kind: 'counter',
    name: 'tollway_connections_displaced_total',
    help: 'Connections closed for a new one (or new ones closed), because the port was `full` or one `source` had its share',
    labelNames: ['port', 'reason'],
    combinations: ['public', 'operations'].flatMap((port) =>
      ['full', 'source'].map((reason) => [port, reason]),
    ),
    onlyOf: { public: 'ad server' },
    part: 'both',
  },
  // Ad server
  redirects: {
    kind: 'counter',
    name: 'tollway_redirects_total',
    help: 'Answers on the public port, by kind',
    labelNames: ['answer'],
    combinations: [
      ['redirect'],
      ['not_found'],
      ['unknown_ad'],
      ['prefetch'],
      ['refused'],
      ['wrong_method'],
      ['bad_request'],
    ],
    part: 'ad server',
  },
  redirectDuration: {
    kind: 'histogram',
    name: 'tollway_redirect_duration_seconds',
    help: 'Time from a parsed request to its answer, the spool write included',
    buckets: latencySeconds,
    part: 'ad server',
  },
  clicksAccepted: {
    kind: 'counter',
    name: 'tollway_clicks_accepted_total',
    help: 'Clicks written to the spool; by the redirect function, confirmed by the broker',
    labelNames: ['kind'],
    combinations: [['impression'], ['evergreen']],
    part: 'ad server',
  },
  clicksUnrecorded: {
    kind: 'counter',
    name: 'tollway_clicks_unrecorded_total',
    help: 'Clicks the spool could not take (full or broken); with the redirect function, not confirmed in time',
    part: 'ad server',
  },
  unknownAds: {
    kind: 'counter',
    name: 'tollway_unknown_ads_total',
    help: 'Well signed links to an ad that the catalog does not know',
    part: 'ad server',
  },
  hiddenAgents: {
    kind: 'counter',
    name: 'tollway_hidden_user_agents_total',
    help: "Clicks whose User-Agent a CDN replaced with its own name (`Amazon CloudFront`). Configure the CDN to forward the visitor's User-Agent",
    part: 'ad server',
  },
  spoolBytes: {
    kind: 'gauge',
    name: 'tollway_spool_bytes',
    help: 'Bytes that the spools hold on disk',
    part: 'ad server',
  },
  spoolOldestAge: {
    kind: 'gauge',
    name: 'tollway_spool_oldest_click_age_seconds',
    help: 'Age of the oldest click that is not yet with the broker',
    part: 'ad server',
    aggregator: 'max',
  },
  spoolDamaged: {
    kind: 'counter',
    name: 'tollway_spool_damaged_records_total',
    help: 'Spooled clicks that could not be read back',
    part: 'ad server',
  },
  spoolTornBytes: {
    kind: 'counter',
    name: 'tollway_spool_torn_bytes_total',
    help: 'Bytes after the last complete click of adopted spools: clicks that a host crash cut off',
    part: 'ad server',
  },
  relayBatches: {
    kind: 'counter',
    name: 'tollway_relay_batches_total',
    help: 'Attempts of the relay to publish a batch',
    labelNames: ['result'],
    combinations: [['published'], ['partly'], ['refused'], ['failed']],
    part: 'ad server',
  },
  relayedClicks: {
    kind: 'counter',
    name: 'tollway_relayed_clicks_total',
    help: 'Clicks that the broker has confirmed',
    part: 'ad server',
  },
  catalogAge: {
    kind: 'gauge',
    name: 'tollway_catalog_age_seconds',
    help: 'Time since the ad catalog was last confirmed; without a catalog, time since the process started',
    part: 'ad server',
    aggregator: 'max',
  },
  catalogAds: {
    kind: 'gauge',
    name: 'tollway_catalog_ads',
    help: 'Ads in the catalog',
    part: 'ad server',
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
      ['invalid', 'bot'],
      ['invalid', 'not_navigation'],
      ['invalid', 'expired'],
      ['invalid', 'paused'],
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
    part: 'processor',
  },
  duplicates: {
    kind: 'counter',
    name: 'tollway_duplicate_clicks_total',
    help: 'Clicks delivered again; they change nothing',
    part: 'processor',
  },
  batchSize: {
    kind: 'histogram',
    name: 'tollway_batch_size_clicks',
    help: 'Clicks in one batch of the handler; watermarks are not counted',
    buckets: [1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000],
    part: 'processor',
  },
  batchDuration: {
    kind: 'histogram',
    name: 'tollway_batch_duration_seconds',
    help: 'Time the handler took for one batch',
    buckets: waitSeconds,
    part: 'processor',
  },
  batchRetries: {
    kind: 'counter',
    name: 'tollway_batch_retries_total',
    help: 'Batches that the handler has to take again',
    labelNames: ['cause'],
    combinations: [['transient'], ['invariant'], ['permanent']],
    part: 'processor',
  },
  clickToCharge: {
    kind: 'histogram',
    name: 'tollway_click_to_charge_seconds',
    help: 'Time from a click to its row in the ledger',
    buckets: waitSeconds,
    part: 'processor',
  },
  deadLetters: {
    kind: 'gauge',
    name: 'tollway_dead_letters',
    help: 'Rejected records that wait for an operator',
    part: 'processor',
  },
  foreignRecords: {
    kind: 'counter',
    name: 'tollway_foreign_records_total',
    help: 'Records in the broker that are not clicks of ours; kept as dead letters, outside the books',
    part: 'processor',
  },
  overDelivery: {
    kind: 'counter',
    name: 'tollway_over_delivery_total',
    help: 'Value of over_budget clicks that the ad server had not marked as budget exhausted, in units of the currency',
    labelNames: ['advertiser', 'currency'],
    part: 'processor',
  },
  budgetRemaining: {
    kind: 'gauge',
    name: 'tollway_advertiser_budget_remaining',
    help: 'What is left of the budget, in units of the currency',
    labelNames: ['advertiser', 'currency'],
    part: 'processor',
  },
  budgetSpent: {
    kind: 'gauge',
    name: 'tollway_advertiser_budget_spent',
    help: 'What was charged so far, in units of the currency',
    labelNames: ['advertiser', 'currency'],
    part: 'processor',
  },
  advertiserInfo: {
    kind: 'gauge',
    name: 'tollway_advertiser_info',
    help: 'Always 1. The labels hold name, status and currency of an advertiser; join on `advertiser`',
    labelNames: ['advertiser', 'name', 'status', 'currency'],
    part: 'processor',
  },
  settlementBlocked: {
    kind: 'gauge',
    name: 'tollway_settlement_blocked',
    help: '1 while something keeps clicks from being settled; `/readyz` and the log say what',
    part: 'processor',
  },
  clicksSetAside: {
    kind: 'gauge',
    name: 'tollway_clicks_set_aside',
    help: 'Clicks kept in memory because another session has locked rows of their advertiser; they are charged when it lets go. With the Postgres broker, they wait in the broker instead',
    part: 'processor',
  },
  lagRecords: {
    kind: 'gauge',
    name: 'tollway_broker_lag_records',
    help: 'Records that wait in the broker; with Kinesis, that are taken and not settled. Absent while the broker does not answer',
    labelNames: ['broker'],
    part: 'processor',
  },
  lagAge: {
    kind: 'gauge',
    name: 'tollway_broker_oldest_click_age_seconds',
    help: 'Age of the oldest click that waits in the broker; for records taken by other processors, the time without progress. It keeps growing while the broker does not answer',
    labelNames: ['broker'],
    part: 'processor',
  },
  brokerLost: {
    kind: 'counter',
    name: 'tollway_broker_lost_records_total',
    help: 'Records that the broker deleted before they were read; with Kinesis, times that this may have happened',
    part: 'processor',
  },
  checkpointFailures: {
    kind: 'counter',
    name: 'tollway_checkpoint_failures_total',
    help: 'Attempts to move the checkpoints of Kafka or Kinesis that failed; a processor tries twice a second',
    part: 'processor',
  },
  // Scheduled functions
  reconciliationProblems: {
    kind: 'gauge',
    name: 'tollway_books_problems',
    help: 'What does not agree in the books, as the reconcile function found it',
    part: 'function',
  },
  missingClicks: {
    kind: 'gauge',
    name: 'tollway_missing_clicks',
    help: 'Accepted clicks that are not settled and stayed so while the reconcile function waited',
    part: 'function',
  },
  // Both
  databaseUp: {
    kind: 'gauge',
    name: 'tollway_database_up',
    help: '1 while the database answers; absent until it was asked',
    part: 'both',
    aggregator: 'min',
  },
  brokerUp: {
    kind: 'gauge',
    name: 'tollway_broker_up',
    help: '1 while the broker takes or gives records; absent until it was asked',
    part: 'both',
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

/** What is counted, whoever counts it: Prometheus' client in a process, lines in the log of a function. */
export type Metrics = {
  readonly [K in keyof List]: List[K] extends { readonly kind: 'counter' }
    ? Counter<LabelsOf<List[K]>>
    : List[K] extends { readonly kind: 'gauge' }
      ? Gauge<LabelsOf<List[K]>>
      : Histogram;
};
