import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { uuidV7 } from '../../common/uuid.ts';
import { readAccessLog } from '../../load-tests/replay/access-log.ts';
import { ClickIdFile } from '../../load-tests/replay/click-id-file.ts';
import { readClickLines } from '../../load-tests/replay/click-lines.ts';
import type { Reading, Recorded } from '../../load-tests/replay/reading.ts';
import { openRecording } from '../../load-tests/replay/recording.ts';
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

it.each([
  ['events', ['\ufeff{"adId":1,"clickedAt":1795683700}', '{"adId":1,"clickedAt":"1795683701.5"}']],
  ['csv', ['\ufeffadId,clickedAt', '1,1795683700', '1,1795683701.5']],
])('reads the same clicks of a file with a byte order mark and times in seconds: %s', async (_, lines) => {
  const folder = mkdtempSync(join(tmpdir(), 'tollway-recording-'));
  const path = join(folder, 'clicks');
  writeFileSync(path, lines.map((line) => `${line}\r\n`).join(''));
  try {
    const stop = new AbortController().signal;
    const recording = await openRecording(path, { format: 'auto', columns: null, oldAt: 0, stop });
    expect(recording).toMatchObject({ clicks: 2, firstAt: 1795683700_000, latestAt: 1795683701_500 });
  } finally {
    rmSync(folder, { recursive: true });
  }
});

it('takes time in proportion to the length of a line, whatever a stranger has made of it', async () => {
  const line = `a:1 ${':'.repeat(8_000)}`;
  const startedAt = performance.now();
  for await (const { is } of readAccessLog(linesOf(...Array<string>(100).fill(line))))
    expect(is).toBe('broken');
  // The square of the length takes some seconds.
  expect(performance.now() - startedAt).toBeLessThan(500);
});

it('reads odd lines of JSON as clicks, or names what is wrong with them', async () => {
  const lines = [
    '{"adId":"1","clickedAt":"2026-11-26T09:07:00Z"}',
    '{"adId":1,"clickedAt":"2026-11-26 09:07:05+00"}',
    '{"adId":1,"clickedAt":1795683700}',
    '{"adId":1,"clickedAt":"2026-11-26T09:07:10.123456789Z"}',
    '{"adId":1,"clickedAt":"2026-11-26T09:07:60Z"}',
    '{"adId":1,"clickedAt":"2026-11-26T09:07:12+0000"}',
    '{"adId":1,"clickedAt":"2026-11-26t09:07:13z"}',
  ];
  const read: (number | string)[] = [];
  for await (const one of readClickLines(linesOf(...lines)))
    read.push('clickedAt' in one ? one.clickedAt : one.why);
  const at = Date.UTC(2026, 10, 26, 9, 7);
  expect(read).toEqual([
    'Expected a whole number of 1–2147483647 in adId, got "1"',
    at + 5_000,
    1795683700_000,
    at + 10_123,
    'Expected a time with its zone, or Unix seconds or ms, in clickedAt, got "2026-11-26T09:07:60Z"',
    at + 12_000,
    at + 13_000,
  ]);
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
