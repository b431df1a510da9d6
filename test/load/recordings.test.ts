import { expect, it } from 'vitest';
import { uuidV7 } from '../../common/uuid.ts';
import { readAccessLog } from '../../load-tests/replay/access-log.ts';
import { ClickIdFile } from '../../load-tests/replay/click-id-file.ts';
import type { Reading, Recorded } from '../../load-tests/replay/reading.ts';
import { createRhythm, play } from '../../load-tests/replay/rhythm.ts';

async function* linesOf(...lines: string[]) {
  for (const line of lines) yield Buffer.from(line);
}

it.each([
  ['192.0.2.7', '192.0.2.7'],
  ['2001:db8::1', '2001:db8::1'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2:3:4:5:6'],
  ['::1', '::1'],
  ['ads.example:443 192.0.2.7', '192.0.2.7'],
  ['ads.example:443 2001:db8::1', '2001:db8::1'],
])('knows the visitor of a log that begins with %s', async (begin, address) => {
  const line = `${begin} - - [31/Jan/2026:12:00:00 +0000] "GET /c/1.k1.7.x.1.y HTTP/1.1" 302 0 "-" "Mozilla"`;
  const read: Reading[] = [];
  for await (const one of readAccessLog(linesOf(line))) read.push(one);
  expect(read).toMatchObject([{ is: 'request', address, userAgent: 'Mozilla' }]);
});

it('keeps different click ids, in the order in which they came', () => {
  const file = new ClickIdFile();
  const ids = Array.from({ length: 10_000 }, () => uuidV7());
  for (const id of [...ids, ...ids]) file.add(id);
  expect(file.size).toBe(ids.length);
  expect([...file.slice(0, 6_000), ...file.slice(6_000, 6_000)]).toEqual(ids);
  expect(file.slice(ids.length, 10)).toEqual([]);
  file.close();
});

it('counts the clicks that stand below later ones: they come at once', async () => {
  const clicksAt = async function* (...times: number[]): AsyncGenerator<Recorded> {
    for (const [line, clickedAt] of times.entries())
      yield { is: 'event', line, clickedAt, adId: 1, event: {} };
  };
  const never = new AbortController().signal;
  const playing = { speed: 100, firstAt: 0, sink: { take: () => {}, pause: () => {} }, stop: never };
  const rhythm = createRhythm();
  await play(clicksAt(0, 1_000, 900, 500, 2_000, 1_000), rhythm, playing);
  expect(rhythm).toMatchObject({ begun: 6, unordered: 2 });
});
