import type { Logger } from '../../common/telemetry/logger.ts';
import { ThrottledLog } from '../../common/telemetry/throttled-log.ts';
import type { SourceHealth } from '../source-health.ts';

const IDLE = 'it has no partition, because there are more processors than partitions (KAFKA_PARTITIONS)';

/** Returns a function that reports whether a processor has no partition to read. */
export function createIdleReport(health: SourceHealth, logger: Logger): (isIdle: boolean) => void {
  const log = new ThrottledLog(logger, {
    failed: `This processor is idle: ${IDLE}. Run npx tollway topics create to add partitions`,
    recovered: 'This processor has partitions to read again',
  });
  return (isIdle) => {
    if (isIdle) {
      health.setWaiting('idle', IDLE);
      log.fail({});
    } else {
      health.clear('idle');
      log.recover();
    }
  };
}
