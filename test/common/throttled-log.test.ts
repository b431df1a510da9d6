import { beforeEach, describe, expect, it } from 'vitest';
import { createFunctionLogger } from '../../common/telemetry/logger.ts';
import { ThrottledLog } from '../../common/telemetry/throttled-log.ts';

const INTERVAL_MS = 30_000;

describe('the throttled log', () => {
  let nowMs = 0;
  let lines: { level: string; message: string; fields: Record<string, unknown> }[] = [];
  const logger = createFunctionLogger('test', { LOG_LEVEL: 'silent' });
  for (const level of ['warn', 'error'] as const)
    logger[level] = (fields: unknown, message?: unknown) =>
      lines.push({ level, message: String(message), fields: fields as Record<string, unknown> });
  const open = (more: { level?: 'error'; graceMs?: number } = {}) =>
    new ThrottledLog(logger, { failed: 'It fails', recovered: 'It works again', ...more }, () => nowMs);
  const messages = () => lines.map(({ message }) => message);

  beforeEach(() => {
    // The clock can begin at any value, also at 0 or below.
    nowMs = -5;
    lines = [];
  });

  it('logs the first failure at once, then one line every 30 seconds with the count, then the recovery', () => {
    const log = open();
    for (; nowMs < 2 * INTERVAL_MS - 5; nowMs += 1_000) log.fail({ problem: 'p' });
    log.recover({ attempt: 60 });
    expect(log.isFailing).toBe(false);
    log.recover();
    expect(lines).toEqual([
      { level: 'warn', message: 'It fails', fields: { problem: 'p', failures: 1 } },
      { level: 'warn', message: 'It fails', fields: { problem: 'p', failures: 30 } },
      { level: 'warn', message: 'It works again', fields: { attempt: 60, failedSeconds: 60 } },
    ]);
  });

  it('logs at most two lines every 30 seconds while failures and successes alternate, and counts the rest', () => {
    const log = open();
    for (let step = 0; step < 75; step += 1, nowMs += 400) {
      log.fail({});
      log.recover();
    }
    expect(messages()).toEqual(['It fails', 'It works again']);
    log.fail({});
    expect(lines.at(-1)?.fields).toEqual({ failures: 75 });
  });

  it('logs a failure that continues after it was not logged at first', () => {
    const log = open();
    log.fail({});
    log.recover();
    for (const end = nowMs + INTERVAL_MS; nowMs <= end; nowMs += 1_000) log.fail({});
    expect(log.isFailing).toBe(true);
    expect(messages()).toEqual(['It fails', 'It works again', 'It fails']);
  });

  it('does not log the recovery from a failure that was not logged', () => {
    const log = open({ graceMs: 3_000 });
    log.fail({});
    nowMs += 2_999;
    log.fail({});
    log.recover();
    expect(messages()).toEqual([]);
    log.fail({});
    nowMs += 3_000;
    log.fail({}, 'It fails in another way');
    log.recover();
    expect(messages()).toEqual(['It fails in another way', 'It works again']);
  });

  it('logs both lines at the given level', () => {
    const log = open({ level: 'error' });
    log.fail({});
    log.recover();
    expect(lines.map(({ level }) => level)).toEqual(['error', 'error']);
  });
});
