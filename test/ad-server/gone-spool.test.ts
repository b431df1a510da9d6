import { expect, it } from 'vitest';
import { goneError } from '../../ad-server/relays.ts';

it('a spool folder that is gone: the error says what to do if it was moved, and which clicks are lost if it was deleted', () => {
  const { message } = goneError('/data/spool/1');
  expect(message).toContain('/data/spool/1 is gone');
  expect(message).toContain('If it was moved, move it back');
  expect(message).toContain('If it was deleted, its unpublished clicks are lost: npx tollway reconcile');
});
