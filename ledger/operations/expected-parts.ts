import type { Config } from '../../common/config/config.ts';
import type { Component } from './part-numbers.ts';

/**
 * The components of which at least one process has to run. With Kafka and Kinesis, functions can do the work of the ad server and of the
 * processor, and functions do not report.
 */
export function expectedParts({ BROKER }: Config): readonly Component[] {
  return BROKER === 'postgres' ? ['ad-server', 'processor'] : [];
}
