import type { Declarations } from './declaration.ts';

/** Metrics that every component has. */
export const processMetrics = {
  buildInfo: {
    kind: 'gauge',
    name: 'tollway_build_info',
    help: 'Always 1. The labels hold the component of the process, its version of Tollway and that of Node',
    labelNames: ['component', 'version', 'node'],
    aggregator: 'max',
    component: 'all',
  },
  eventLoopUtilization: {
    kind: 'gauge',
    name: 'tollway_event_loop_utilization_ratio',
    help: 'Share of the time since the last scrape in which the event loop was busy; near 1 the process is overloaded. Of several workers, that of the busiest',
    aggregator: 'max',
    component: 'all',
  },
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
} as const satisfies Declarations;
