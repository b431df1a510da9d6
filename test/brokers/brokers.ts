import { isSkipped } from '../support/skipped.ts';
import { kafkaDriver } from './kafka-broker.ts';
import { kinesisDriver } from './kinesis-broker.ts';
import { postgresDriver } from './postgres-broker.ts';

/** Every broker, each with whether it can be tested here. */
export const drivers = await Promise.all(
  [postgresDriver, kafkaDriver, kinesisDriver].map(async (driver) => {
    const line = await driver.missing();
    return { name: driver.name, driver, skipped: isSkipped(line) };
  }),
);
