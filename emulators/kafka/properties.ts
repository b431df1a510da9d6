/** The ports of the three listeners of the node. */
export type KafkaPorts = { readonly clients: number; readonly broker: number; readonly controller: number };

/** A fixed cluster id, because each server is a cluster of one node. The format is base64 of 16 bytes. */
export const CLUSTER_ID = 'dG9sbHdheS1rYWZrYS0wMQ';

/** The text of server.properties for a single node that is broker and controller, tuned for a fast start. */
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
    // A separate listener for the broker, so that it needs no password if CLIENTS requires one.
    'inter.broker.listener.name': 'BROKER',
    'controller.listener.names': 'CONTROLLER',
    'log.dirs': dataDir,
    // A killed broker can register again only when its previous session has expired, by default after 9 s.
    'broker.session.timeout.ms': '2000',
    'broker.heartbeat.interval.ms': '500',
    'auto.create.topics.enable': 'false',
    'group.initial.rebalance.delay.ms': '0',
    'offsets.topic.replication.factor': '1',
    // With the default of 50 partitions the first consumer waits for seconds.
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

/** Escapes a value for java.util.Properties: line breaks (in PEM) and backslashes (in JAAS entries). */
function escaped(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('\n', '\\n');
}
