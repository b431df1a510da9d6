import type { Declarations } from './declaration.ts';

/** Metrics of the HTTP API, webhooks and reconciliation. */
export const consoleMetrics = {
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
  booksProblems: {
    kind: 'gauge',
    name: 'tollway_books_problems',
    help: 'Problems that the latest reconciliation of the ledger found. Each console reports the same number',
    aggregator: 'max',
    component: 'console',
  },
  missingClicks: {
    kind: 'gauge',
    name: 'tollway_missing_clicks',
    help: 'Accepted clicks that are neither settled nor in the broker, by the latest reconciliation; absent if the broker did not answer it. Each console reports the same number',
    aggregator: 'max',
    component: 'console',
  },
  inFlightClicks: {
    kind: 'gauge',
    name: 'tollway_in_flight_clicks',
    help: 'Accepted clicks that were in the broker, not settled, at the latest reconciliation; absent if the broker did not answer it. Each console reports the same number',
    aggregator: 'max',
    component: 'console',
  },
  reconciledAt: {
    kind: 'gauge',
    name: 'tollway_reconciliation_timestamp_seconds',
    help: 'Unix time of the latest reconciliation. Each console reports the same number',
    aggregator: 'max',
    component: 'console',
  },
} as const satisfies Declarations;
