import type { Declarations } from './declaration.ts';

const latencySeconds = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1];

/** Metrics of redirects, spools, relays and the ad catalog. */
export const adServerMetrics = {
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
    help: 'Bytes after the last complete click of adopted spools: incomplete clicks, after a crash of the host or of the process',
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
  clockOffset: {
    kind: 'gauge',
    name: 'tollway_clock_offset_seconds',
    help: 'The clock of the host minus that of the database server; negative if it is behind. Absent before the database answers',
    component: 'ad server',
    aggregator: 'max',
  },
} as const satisfies Declarations;
