import { expect, it } from 'vitest';
import { NO_ANSWER, READY } from '../../../common/part-health.ts';
import { silentParts } from '../../../console/page/views/live/silent-parts.ts';

it.each([
  [null, []],
  [{ adServer: READY, processor: READY, database: READY }, []],
  [{ adServer: READY, processor: 'one.example:9101 does not answer', database: NO_ANSWER }, []],
  [{ adServer: READY, processor: NO_ANSWER, database: READY }, ['processor']],
  [{ adServer: NO_ANSWER, processor: NO_ANSWER, database: READY }, ['adServer', 'processor']],
])('of %j, no part reports: %j', (health, silent) => {
  expect(silentParts(health)).toEqual(silent);
});
