/** Where the three listeners of a single node are. */
export type KafkaPorts = { readonly clients: number; readonly broker: number; readonly controller: number };

/** Any will do: no two of these servers ever meet. Base64 of 16 bytes, as the format demands. */
export const CLUSTER_ID = 'dG9sbHdheS1rYWZrYS0wMQ';

/** The text of server.properties: one node, broker and controller in one, quick to start. */
export function serverProperties(
  ports: KafkaPorts,
  hosts: { readonly bind: string; readonly advertised: string },
  dataDir: string,
  more: Readonly<Record<string, string>>,
): string {
  const properties = {
    'process.roles': 'broker,controller',
    'node.id': '1',
    'controller.quorum.voters': `1@127.0.0.1:${ports.controller}`,
    listeners: [
      `CLIENTS://${hosts.bind}:${ports.clients}`,
      `BROKER://127.0.0.1:${ports.broker}`,
      `CONTROLLER://127.0.0.1:${ports.controller}`,
    ].join(','),
    'advertised.listeners': [
      `CLIENTS://${hosts.advertised}:${ports.clients}`,
      `BROKER://127.0.0.1:${ports.broker}`,
    ].join(','),
    'listener.security.protocol.map': 'CLIENTS:PLAINTEXT,BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT',
    // A listener of its own, so that whatever CLIENTS speaks, the broker needs no password for itself.
    'inter.broker.listener.name': 'BROKER',
    'controller.listener.names': 'CONTROLLER',
    'log.dirs': dataDir,
    // A broker that was killed is let in again when the session of its former life is over: 9 s by default.
    'broker.session.timeout.ms': '2000',
    'broker.heartbeat.interval.ms': '500',
    'auto.create.topics.enable': 'false',
    'group.initial.rebalance.delay.ms': '0',
    'offsets.topic.replication.factor': '1',
    // The default of 50 costs seconds with the first consumer.
    'offsets.topic.num.partitions': '1',
    'transaction.state.log.replication.factor': '1',
    'transaction.state.log.min.isr': '1',
    'transaction.state.log.num.partitions': '1',
    'share.coordinator.state.topic.replication.factor': '1',
    'share.coordinator.state.topic.min.isr': '1',
    'share.coordinator.state.topic.num.partitions': '1',
    ...more,
  };
  return Object.entries(properties)
    .map(([name, value]) => `${name}=${escaped(value)}\n`)
    .join('');
}

/** As java.util.Properties reads it: a PEM has lines, a JAAS entry may have backslashes. */
function escaped(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('\n', '\\n');
}
