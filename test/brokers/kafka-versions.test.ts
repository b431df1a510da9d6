import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { createKafkaPublisher } from '../../brokers/kafka/publisher.ts';
import { parseConfig } from '../../common/config/config.ts';
import { silent } from '../support/loggers.ts';
import { clickRecord } from '../support/records.ts';

/** [number of the API, lowest version, highest version] */
type Api = readonly [number, number, number];

const closings: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closings.splice(0)) await close();
});

/** A broker that knows ApiVersions 1, and answers any other request as Kafka does one of an unknown version: it closes the connection. */
async function startBroker(apis: readonly Api[]): Promise<string> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('data', (request) => {
      const [api, correlationId] = [request.readInt16BE(4), request.readInt32BE(8)];
      if (api === 18) socket.write(apiVersions(correlationId, apis));
      else socket.destroy();
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  closings.push(async () => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** https://kafka.apache.org/41/protocol.html#The_Messages_ApiVersions */
function apiVersions(correlationId: number, apis: readonly Api[]): Buffer {
  const bytes = Buffer.alloc(4 + 4 + 2 + 4 + 6 * apis.length + 4);
  bytes.writeInt32BE(bytes.length - 4, 0);
  bytes.writeInt32BE(correlationId, 4);
  bytes.writeInt32BE(apis.length, 10);
  for (const [index, api] of apis.entries())
    for (const [field, value] of api.entries()) bytes.writeInt16BE(value, 14 + 6 * index + 2 * field);
  return bytes;
}

async function publishTo(apis: readonly Api[]): Promise<unknown> {
  const brokers = await startBroker(apis);
  const config = parseConfig({ KAFKA_CLIENT: 'platformatic', KAFKA_BROKERS: brokers });
  const publisher = await createKafkaPublisher(config, silent);
  closings.push(publisher.close);
  return publisher.publish([clickRecord()]).catch((error: unknown) => error);
}

describe('a publisher with platformatic', () => {
  it.each([
    [
      'Produce',
      [
        [0, 0, 8],
        [3, 0, 9],
      ],
      '0 to 8',
    ],
    [
      'Metadata',
      [
        [0, 3, 13],
        [3, 0, 5],
      ],
      '0 to 5',
    ],
    [
      'Produce',
      [
        [0, 10, 13],
        [3, 0, 9],
      ],
      '10 to 13',
    ],
  ] as const)(
    'names the setting if the broker does not know its version of %s',
    async (name, apis, versions) => {
      expect(await publishTo(apis)).toMatchObject({
        code: 'kafka',
        retryable: false,
        message: expect.stringMatching(
          `^KAFKA_CLIENT: expected a Kafka with version 9 of ${name} .*got versions ${versions} of 127.* Set KAFKA_CLIENT=kafkajs$`,
        ),
      });
    },
  );

  it('asks a broker that knows them for its metadata', async () => {
    expect(
      await publishTo([
        [0, 3, 13],
        [3, 0, 13],
      ]),
    ).toMatchObject({ code: 'kafka_away', retryable: true });
  });
});
