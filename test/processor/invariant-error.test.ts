import { expect, it } from 'vitest';
import { invariantError } from '../../processor/runtime.ts';

it('the error of a broken constraint names it, says what it means for clicks, and where to read what to do', () => {
  const constraint =
    'new row for relation "advertiser" violates check constraint "advertiser_remaining_not_negative"';
  expect(invariantError(new Error(constraint))).toMatchObject({
    code: 'invariant',
    message: `A constraint of the database refused a charge: ${constraint}. Nothing of the batch was kept, and its clicks wait in the broker. A restart does not help: see docs/runbook.md#tollwayinvariantbroken`,
  });
});
