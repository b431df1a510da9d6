import { kafkaDriver } from './kafka-broker.ts';
import { kinesisDriver } from './kinesis-broker.ts';
import { postgresDriver } from './postgres-broker.ts';

/** Every broker there is, each with whether it can be tested here. */
export const drivers = await Promise.all(
  [postgresDriver, kafkaDriver, kinesisDriver].map(async (driver) => {
    const line = await driver.missing();
    return { name: driver.name, driver, skipped: isSkipped(line) };
  }),
);

/**
 * Whether a suite that needs what `line` says is missing is left out; says so. In CI it is not: there its start fails with
 * that same line.
 */
export function isSkipped(line: string | null): boolean {
  if (line === null) return false;
  process.stderr.write(`Skipped: ${line}\n`);
  return !process.env.CI;
}
