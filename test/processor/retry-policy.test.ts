import { describe, expect, it } from 'vitest';
import { afterFailure, type Isolation, nextStep } from '../../processor/dispatch/retry-policy.ts';

describe('after a failed transaction', () => {
  it.each([
    ['transient', 1, 'retry'],
    ['transient', 50, 'retry'],
    ['advertiser locked', 1, 'set aside'],
    ['advertiser locked', 50, 'set aside'],
    ['invariant', 1, 'stop'],
    ['invariant', 50, 'stop'],
    ['permanent', 2, 'split'],
    ['permanent', 50, 'split'],
    ['permanent', 1, 'isolate'],
  ] as const)('%s with %i records: %s', (kind, records, action) => {
    expect(afterFailure(kind, records)).toBe(action);
  });
});

describe('a record that fails permanently by itself', () => {
  const start: Isolation = {
    othersSettled: false,
    othersWaiting: false,
    attempts: 0,
    attemptsMax: 2,
    dryRun: 'not run',
  };
  it.each([
    ['waits until the others in its lane are settled', { othersWaiting: true }, 'settle others'],
    ['waits for them after every attempt, too', { othersWaiting: true, attempts: 2 }, 'settle others'],
    ['needs a dry run if no other is settled or waits', {}, 'dry run'],
    ['waits when the dry run fails', { dryRun: 'failed' }, 'wait'],
    ['is retried when the dry run passes', { dryRun: 'passed' }, 'retry'],
    ['is retried at once when others were settled', { othersSettled: true }, 'retry'],
    ['is retried at once even if others wait', { othersSettled: true, othersWaiting: true }, 'retry'],
    [
      'is retried after a pause from the second time on',
      { othersSettled: true, attempts: 1 },
      'retry after a pause',
    ],
    ['needs a dry run after the last attempt', { othersSettled: true, attempts: 2 }, 'dry run'],
    ['waits when that dry run fails', { othersSettled: true, attempts: 2, dryRun: 'failed' }, 'wait'],
    [
      'is quarantined when that dry run passes',
      { othersSettled: true, attempts: 2, dryRun: 'passed' },
      'quarantine',
    ],
    [
      'is quarantined when it is alone and its dry run passes',
      { attempts: 2, dryRun: 'passed' },
      'quarantine',
    ],
    [
      'is retried after the last attempt, too, when the fault was repaired since',
      { othersSettled: true, attempts: 2, dryRun: 'passed after a failure' },
      'retry',
    ],
    ['is never quarantined without a dry run', { othersSettled: true, attempts: 99 }, 'dry run'],
  ] as const)('%s', (_, more, step) => {
    expect(nextStep({ ...start, ...more })).toBe(step);
  });

  it('is quarantined without a retry if RETRY_ATTEMPTS is 0', () => {
    expect(nextStep({ ...start, attemptsMax: 0 })).toBe('dry run');
    expect(nextStep({ ...start, attemptsMax: 0, dryRun: 'passed' })).toBe('quarantine');
  });
});
