import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, it } from 'vitest';
import { CHROME, redirectBench } from '../support/redirect-bench.ts';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

it('keeps little of a request: user agents of 12 000 characters do not fill the memory', () => {
  const bench = redirectBench({ doubleClickMs: 60_000 });
  collect();
  const before = process.memoryUsage().heapUsed;
  for (let count = 0; count < 5_000; count += 1) {
    // As a parser makes it: one string, and not a chain of shared pieces.
    const userAgent = Buffer.alloc(12_000, `${count} ${CHROME}`).toString('latin1');
    bench.send({ headers: { 'user-agent': userAgent } });
    bench.take();
    bench.answers.length = 0;
  }
  collect();
  // 5 000 visitors with 1 kB each would be 5 MB; with their whole agents 60 MB, and 1.2 GB for the most remembered.
  const grownBytes = process.memoryUsage().heapUsed - before;
  bench.send({ headers: { 'user-agent': `${CHROME} still here` } });
  expect(bench.take().invalid).toBeNull();
  expect(grownBytes).toBeLessThan(30e6);
});
