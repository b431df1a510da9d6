import { isSkipped } from '../support/skipped.ts';
import type { Driver } from './broker.ts';
import { KAFKA_CLIENTS, kafkaDriver } from './kafka-broker.ts';
import { kinesisDriver } from './kinesis-broker.ts';
import { postgresDriver } from './postgres-broker.ts';

const named: readonly { name: string; driver: Driver }[] = [
  { name: 'postgres', driver: postgresDriver },
  ...KAFKA_CLIENTS.map((client) => ({ name: `kafka with ${client}`, driver: kafkaDriver(client) })),
  { name: 'kinesis', driver: kinesisDriver },
];

/** Every broker, Kafka with each of its clients, each with whether it can be tested here. */
export const drivers = await Promise.all(
  named.map(async ({ name, driver }) => ({ name, driver, skipped: isSkipped(await driver.missing()) })),
);
