import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { beforeAll, describe, expect, it } from 'vitest';
import { createVisitorAddress } from '../../ad-server/http/visitor.ts';
import { createAgentJudge } from '../../ad-server/redirect/invalid-traffic.ts';
import { proxies } from '../../common/config/setting.ts';
import { withWholeFile } from '../../common/whole-file.ts';
import { createSigner, evergreenLink } from '../../contract/link-token.ts';
import { createCompleter } from '../../load-tests/replay/complete-clicks.ts';
import { parseColumns } from '../../load-tests/replay/csv-columns.ts';
import type { LineResult, RecordedClick } from '../../load-tests/replay/line-result.ts';
import { createLocalTime } from '../../load-tests/replay/local-time.ts';
import { openRecording } from '../../load-tests/replay/recording.ts';
import { addAccount, testDatabase } from '../support/database.ts';
import { k1 } from '../support/link-samples.ts';
import { suiteFolder } from '../support/temporary-folder.ts';

const VECTORS = join(import.meta.dirname, '..', 'vectors');
const TIME = Date.parse('2026-01-31T12:00:00Z');
const folder = suiteFolder();

type Given = { columns?: string; timeZone?: string; base?: string; trusted?: string; token?: string };

/** Reads a file like a replay. */
async function read(content: string | Buffer, given: Given = {}) {
  const path = join(folder, 'file');
  const text = typeof content === 'string' ? content : content.toString('latin1');
  const filled = text.replaceAll('TOKEN', given.token ?? '1.k1.7.AAAAAAAAAAAAAAAAAAAAAA');
  writeFileSync(path, filled, typeof content === 'string' ? 'utf8' : 'latin1');
  const recording = await openRecording(path, {
    format: 'auto',
    columns: given.columns === undefined ? null : parseColumns(given.columns),
    times: {
      localTime: given.timeZone === undefined ? null : createLocalTime(given.timeZone),
      baseMs: given.base === undefined ? null : Date.parse(given.base),
    },
    log: { visitorAddress: createVisitorAddress(proxies(given.trusted ?? '')) },
    oldAt: 0,
    stop: new AbortController().signal,
  });
  const readings: LineResult[] = [];
  for await (const reading of recording.read()) readings.push(reading);
  const clicks = readings.filter((one): one is RecordedClick => one.is === 'event' || one.is === 'request');
  return { recording, readings, clicks };
}

const caseOf = (name: string) => readFileSync(join(VECTORS, name));
const times = (clicks: readonly RecordedClick[]) =>
  clicks.map(({ clickedAt }) => new Date(clickedAt).toISOString());
const reasons = (readings: readonly LineResult[], is: 'skipped' | 'broken') =>
  readings.flatMap((one) => (one.is === is ? [one.why] : []));
const line = (begin: string, end = '') =>
  `${begin} - - [31/Jan/2026:12:00:00 +0000] "GET /c/TOKEN HTTP/1.1" 302 0 "-" "Mozilla"${end}\n`;

describe('an access log', () => {
  it.each([
    ['192.0.2.7', '192.0.2.7'],
    ['2001:db8::1', '2001:db8::1'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2:3:4:5:6'],
    ['::1', '::1'],
    ['ads.example:443 192.0.2.7', '192.0.2.7'],
    ['ads.example:443 2001:db8::1', '2001:db8::1'],
    ['ads.example 192.0.2.7', '192.0.2.7'],
    ['192.0.2.1 192.0.2.7', '192.0.2.7'],
    ['198.51.100.1, 192.0.2.7', '192.0.2.7'],
    ['host.example', null],
    ['ads.example host.example', null],
  ])('that begins with %s has the visitor %s', async (begin, address) => {
    const { clicks } = await read(line(begin));
    expect(clicks).toMatchObject([{ is: 'request', address, userAgent: 'Mozilla' }]);
  });

  it('without addresses identifies visitors by their host names', async () => {
    const { clicks } = await read(line('one.example') + line('two.example'));
    const visitors = clicks.map((click) => click.is === 'request' && click.visitor);
    expect(new Set(visitors).size).toBe(2);
  });

  it.each([
    ['10.0.0.0/8', ' "198.51.100.7"', '198.51.100.7', 0],
    ['10.0.0.0/8', ' "192.0.2.66, 198.51.100.7, 10.0.0.9"', '198.51.100.7', 0],
    ['10.0.0.0/8', ' rt=0.001 "198.51.100.7"', '198.51.100.7', 0],
    ['10.0.0.0/8', ' "-"', '10.0.0.5', 0],
    ['10.0.0.0/8', ' "ads.example.com"', '10.0.0.5', 0],
    ['', ' "198.51.100.7"', '10.0.0.5', 1],
  ])('with trusted proxies %s and %s after the user agent has the visitor %s', async (...given) => {
    const [trusted, end, address, ignored] = given;
    const { clicks, recording } = await read(line('10.0.0.5', end), { trusted });
    expect(clicks).toMatchObject([{ address }]);
    expect(recording.ignoredProxies.count).toBe(ignored);
  });

  it.each([
    ['logs/nginx.json.log', 'nginx-json', '2026-11-26T10:15:00.000Z'],
    ['logs/caddy.json.log', 'caddy', '2026-11-26T10:15:00.100Z'],
    ['logs/cloudfront.tsv', 'cloudfront', '2026-11-26T10:16:00.000Z'],
    ['logs/alb.log', 'alb', '2026-11-26T10:17:00.186Z'],
  ])('is detected and read: %s', async (name, format, time) => {
    const { recording, readings, clicks } = await read(caseOf(name));
    expect(recording).toMatchObject({ format, clicks: 1, hasLinks: true });
    expect(readings).toHaveLength(1);
    expect(clicks).toMatchObject([{ address: '198.51.100.7', path: expect.stringMatching(/^\/c\/1\.k1\./) }]);
    const [click] = clicks;
    expect(click?.is === 'request' && click.userAgent).toContain('Mozilla/5.0 (Windows NT 10.0');
    expect(times(clicks).map((at) => at.slice(0, 22))).toEqual([time.slice(0, 22)]);
  });

  it('has clicks only in requests with status 302; a redirect to https is skipped', async () => {
    const { readings, clicks } = await read(caseOf('logs/301-hop.log'));
    expect(clicks).toMatchObject([{ line: 2 }]);
    expect(reasons(readings, 'skipped')).toEqual(['answered 301: a redirect, but not the 302 of a click']);
  });

  it('has no clicks in redirects of the load balancer itself', async () => {
    const hop = caseOf('logs/alb.log').toString().replace('302 302 34', '302 - 34');
    const { readings, clicks } = await read(`${hop}${caseOf('logs/alb.log')}`);
    expect(clicks).toMatchObject([{ line: 2 }]);
    expect(reasons(readings, 'skipped')).toEqual(['redirected by the load balancer itself']);
  });

  it('can have empty and unusual requests, which are skipped', async () => {
    const { readings, clicks } = await read(caseOf('logs/odd-lines.log'));
    expect(clicks).toHaveLength(3);
    expect(reasons(readings, 'broken')).toEqual([]);
    expect(reasons(readings, 'skipped')).toEqual(Array(4).fill('not a /c/… link'));
    expect(clicks[0]).toMatchObject({ referrer: 'https://p.example/?q="a"' });
    expect(clicks[1]).toMatchObject({ userAgent: expect.stringContaining('Alba 10" Build') });
  });

  it.each([
    `a:1 ${':'.repeat(8_000)}`,
    '['.repeat(8_000),
    `192.0.2.7 - - [31/Jan/2026:12:00:00 +0000] "GET / HTTP/1.1" 200 0 ${'\\"'.repeat(4_000)}`,
    `192.0.2.7 - - [31/Jan/2026:12:00:00 +0000] "${'\\'.repeat(7_900)}`,
    '{"request":"'.repeat(600),
  ])('is read in linear time even if it has hostile lines (%#)', async (odd) => {
    const before = process.cpuUsage();
    await read(`${line('192.0.2.7')}${`${odd}\n`.repeat(100)}`);
    // In µs of CPU time: other programs can keep the machine busy. The file is read twice. With quadratic time this takes some seconds.
    const { user, system } = process.cpuUsage(before);
    expect(user + system).toBeLessThan(1_500_000);
  });

  it('in UTF-16 is refused with an error that names the encoding', async () => {
    await expect(read(caseOf('logs/utf16.log'))).rejects.toThrow(/got UTF-16/);
  });

  it('keeps the text after a link, like the ad server', async () => {
    const { clicks } = await read(line('192.0.2.7').replace('/c/TOKEN', '//c//TOKEN&utm_source=x'));
    expect(clicks).toMatchObject([{ path: expect.stringMatching(/^\/\/c\/\/1\..*&utm_source=x$/) }]);
  });
});

describe('clicks of a replayed log have the same invalid reasons as in the ad server', () => {
  const database = testDatabase();
  let token = '';
  beforeAll(async () => {
    const { ad } = await addAccount(database.pool);
    token = createSigner([k1])(evergreenLink(ad.id));
  });
  it.each([
    ['301-hop.log', [null]],
    ['nginx-main-xff.log', [null, null]],
    ['vhost-no-port.log', [null, null]],
    ['out-of-order.log', [null, null, null, null, 'double_click']],
    ['out-of-order-control.log', [null, null, null, null, 'double_click']],
  ])('%s', async (name, expected) => {
    const { clicks } = await read(caseOf(`logs/${name}`), { token, trusted: '10.0.0.0/8' });
    const complete = createCompleter(database.pool, randomBytes(32), {
      keys: [k1],
      linkLifeMaxDays: 90,
      doubleClickMs: 1_000,
      judgeAgent: createAgentJudge().judge,
    });
    const events = (await complete(clicks)).map((click) =>
      click.is === 'complete' ? (JSON.parse(click.value.toString()) as { invalid: string | null }) : click,
    );
    expect(events.map((event) => ('invalid' in event ? event.invalid : event.why))).toEqual(expected);
  });
});

describe('lines that are not in the order of their times', () => {
  it('are sorted, and lines with the same time keep their order', async () => {
    const at = [5, 90_000_000, 3, 5, 1, 90_000_000];
    const events = at.map((ms, index) => JSON.stringify({ adId: index + 1, clickedAt: TIME + ms }));
    const { recording, readings, clicks } = await read([...events, 'no JSON'].join('\n'));
    expect(recording).toMatchObject({ isUnordered: true, firstAt: TIME + 1, latestAt: TIME + 90_000_000 });
    expect(clicks.map(({ line: number }) => number)).toEqual([5, 3, 1, 4, 2, 6]);
    expect(readings).toHaveLength(7);
  });

  it('are not sorted if they are in order', async () => {
    const { recording } = await read(caseOf('logs/out-of-order-control.log'));
    expect(recording.isUnordered).toBe(false);
  });
});

describe('files of clicks', () => {
  const DAY = '2026-11-26';
  it.each<[string, Given, string[], number]>([
    ['bom.ndjson', {}, [`${DAY}T09:05:00.000Z`, `${DAY}T09:05:05.000Z`], 0],
    ['seconds.ndjson', {}, [`${DAY}T09:01:40.000Z`, `${DAY}T09:01:41.000Z`], 0],
    ['seconds.csv', {}, [`${DAY}T09:01:42.000Z`, `${DAY}T09:01:43.500Z`], 0],
    ['excel-sep.csv', {}, [`${DAY}T09:00:00.000Z`, `${DAY}T09:00:05.000Z`], 0],
    ['excel-decimal-comma.csv', {}, [`${DAY}T09:01:00.000Z`, `${DAY}T09:01:05.000Z`], 0],
    ['pandas-float.csv', {}, [`${DAY}T09:03:00.000Z`], 1],
    [
      'talkingdata.csv',
      { columns: 'adId=app,clickedAt=click_time', timeZone: 'Asia/Shanghai' },
      ['2017-11-06T06:32:21.000Z', '2017-11-06T06:33:34.000Z'],
      0,
    ],
    [
      'talkingdata.csv',
      {
        columns: 'adId=app,clickedAt=click_time',
        timeZone: '+08:00',
        base: '2026-01-31T12:00:00Z',
      },
      ['2026-01-31T12:00:00.000Z', '2026-01-31T12:01:13.000Z'],
      0,
    ],
    [
      'criteo.tsv',
      { columns: 'adId=campaign,clickedAt=timestamp,price=cost,isClick=click', base: '2026-01-31T12:00:00Z' },
      ['2026-01-31T12:00:00.000Z', '2026-01-31T12:00:03.000Z'],
      1,
    ],
    [
      'avazu.csv',
      { columns: 'adId==7,clickedAt=hour,isClick=click', timeZone: 'UTC' },
      ['2014-10-21T00:00:00.000Z'],
      1,
    ],
    ['link-column.csv', { columns: 'link=url,clickedAt=time' }, [`${DAY}T09:09:00.000Z`], 0],
  ])('%s with %o', async (name, given, expected, others) => {
    const { readings, clicks } = await read(caseOf(`files/${name}`), given);
    expect(times(clicks)).toEqual(expected);
    expect(readings).toHaveLength(expected.length + others);
  });

  it('have the right prices and user agents', async () => {
    const events = async (name: string, given?: Given) =>
      (await read(caseOf(`files/${name}`), given)).clicks.map((click) =>
        click.is === 'event' ? click.event : {},
      );
    expect(await events('excel-decimal-comma.csv')).toMatchObject([
      { priceMicros: 250_000 },
      { priceMicros: 300_000 },
    ]);
    const criteo = { columns: 'adId=campaign,clickedAt=timestamp,price=cost', base: '2026-01-31T12:00:00Z' };
    expect(await events('criteo.tsv', criteo)).toMatchObject([
      { priceMicros: 10 },
      { priceMicros: 10 },
      { priceMicros: 54 },
    ]);
    expect(await events('excel-sep.csv')).toMatchObject([
      { userAgent: 'Mozilla/5.0 (X11) Firefox/140' },
      { userAgent: 'Mozilla/5.0 (X11) Firefox/140' },
    ]);
  });

  it('with unusual lines give a click or an error for each line', async () => {
    const { readings } = await read(caseOf('files/odd.ndjson'));
    const at = Date.UTC(2026, 10, 26, 9, 7);
    const found = readings.map((one) => ('clickedAt' in one ? one.clickedAt : one.why));
    expect(found.sort()).toEqual(
      [
        'Expected a whole number of 1–2147483647 in adId, got "1"',
        at + 5_000,
        1795683700_000,
        at + 10_123,
        'Expected a time with a zone, or Unix seconds or ms, in clickedAt, got "2026-11-26T09:07:60Z"',
        at + 12_000,
        at + 13_000,
      ].sort(),
    );
  });

  it.each([
    ['1,2026-01-31 12:00:00', '--time-zone'],
    ['1,14102100', '--base-time'],
    ['1,', 'got nothing'],
    [',2026-01-31T12:00:00Z', 'in adId, got nothing'],
    ['1,2026-02-31T12:00:00Z', 'got "2026-02-31'],
    ['1,2026-01-31T12:00:00Z,"1,234"', 'is ambiguous'],
  ])('report what is missing in the row %s', async (row, error) => {
    const good = '1,2026-01-31T12:00:00Z';
    const { readings } = await read(`adId,clickedAt,price\n${good}\n${row}\n`);
    expect(reasons(readings, 'broken')).toEqual([expect.stringContaining(error)]);
  });

  it.each([
    ['1.234,50', 1_234_500_000],
    ['"1,234.50"', 1_234_500_000],
    ['0,125', 125_000],
    ['12.5', 12_500_000],
  ])('have the price %s', async (price, micros) => {
    const { clicks } = await read(`adId;clickedAt;price\n1;2026-01-31T12:00:00Z;${price}\n`);
    expect(clicks).toMatchObject([{ event: { priceMicros: micros } }]);
  });

  it("can be the ledger's export as CSV, with bots kept invalid and credits skipped", async () => {
    const head =
      'clickId,nonce,advertiserId,campaignId,adId,publisher,outcome,reason,charged,currency,clickedAt,settledAt';
    const id = '019c13d2-8800-7000-8000-000000000001';
    const row = (outcome: string, reason: string, charged: string) =>
      `${id},,1,1,1,example-news,${outcome},${reason},${charged},USD,2026-01-31T12:00:00Z,2026-01-31T12:00:01Z`;
    const lines = [
      head,
      row('charged', '', '0.25'),
      row('invalid', 'bot', '0.00'),
      row('credit', '', '-0.25'),
    ];
    const { readings, clicks } = await read(lines.join('\n'));
    expect(clicks).toMatchObject([
      { event: { priceMicros: 250_000, nonce: null, publisher: 'example-news' } },
      { event: { invalid: 'bot' } },
    ]);
    expect(reasons(readings, 'skipped')).toHaveLength(1);
  });
});

it('refuses --columns for a log in JSON, because it needs CSV', async () => {
  const line = JSON.stringify({
    remote_addr: '192.0.2.7',
    time_iso8601: '2026-01-31T12:00:00+00:00',
    request: 'GET / HTTP/1.1',
    status: 302,
  });
  await expect(read(line, { columns: 'adId=ad,clickedAt=time' })).rejects.toThrow(
    /^--columns needs CSV; .* is nginx-json$/,
  );
});

it('reads standard input twice from a copy, and removes the copy', async () => {
  let copy = '';
  const read = await withWholeFile('-', Readable.from(['one', 'two']), async (path, name) => {
    expect(name).toBe('standard input');
    copy = path;
    return [readFileSync(path, 'utf8'), readFileSync(path, 'utf8')];
  });
  expect(read).toEqual(['onetwo', 'onetwo']);
  expect(existsSync(copy)).toBe(false);
});

it('says that standard input cannot be copied, which is no error of the database', async () => {
  const full = Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });
  const input = new Readable({ read: () => input.destroy(full) });
  await expect(withWholeFile('-', input, async () => {})).rejects.toMatchObject({
    code: 'bad_file',
    message: expect.stringMatching(/^standard input: cannot be copied to .*: ENOSPC: no space left/),
  });
});

describe('a time zone', () => {
  it.each([
    ['Europe/Berlin', '2026-07-01 12:00:00', '2026-07-01T10:00:00Z'],
    ['Europe/Berlin', '2026-01-01 12:00', '2026-01-01T11:00:00Z'],
    // This time occurs twice that night. The earlier one is returned.
    ['Europe/Berlin', '2026-10-25 02:30:00', '2026-10-25T00:30:00Z'],
    ['Europe/Berlin', '2026-10-25 03:30:00', '2026-10-25T02:30:00Z'],
    ['America/New_York', '2026-03-08T03:30:00', '2026-03-08T07:30:00Z'],
    ['+05:30', '2026-01-01 12:00:00.250', '2026-01-01T06:30:00.250Z'],
    ['UTC', '14102123', '2014-10-21T23:00:00Z'],
  ])('%s reads %s', (zone, text, expected) => {
    expect(createLocalTime(zone)(text)).toBe(Date.parse(expected));
  });

  it('refuses an unknown zone and an invalid time', () => {
    expect(() => createLocalTime('Berlin')).toThrow('Expected a time zone such as');
    expect(createLocalTime('UTC')('2026-02-31 12:00:00')).toBeNull();
  });
});
