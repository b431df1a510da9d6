import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, it } from 'vitest';
import { CHROME, redirectFixture } from '../support/redirect-fixture.ts';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

it('a redirect stores little of a request: user agents of 12 000 characters do not fill the memory', () => {
  const fixture = redirectFixture({ doubleClickMs: 60_000 });
  collect();
  const before = process.memoryUsage().heapUsed;
  for (let count = 0; count < 5_000; count += 1) {
    // One flat string, as the HTTP parser creates it, not a rope of shared strings.
    const userAgent = Buffer.alloc(12_000, `${count} ${CHROME}`).toString('latin1');
    fixture.send({ headers: { 'user-agent': userAgent } });
    fixture.take();
    fixture.answers.length = 0;
  }
  collect();
  // 5 000 visitors take 5 MB at 1 kB each. With complete user agents it would be 60 MB, and 1.2 GB for the maximum of visitors.
  const grownBytes = process.memoryUsage().heapUsed - before;
  fixture.send({ headers: { 'user-agent': `${CHROME} still here` } });
  expect(fixture.take().invalid).toBeNull();
  expect(grownBytes).toBeLessThan(30e6);
});
