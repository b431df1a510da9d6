import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { uuidV7 } from '../../common/uuid.ts';
import {
  CLICK_BYTES_MAX,
  type ClickEvent,
  clickKey,
  EDGE_INVALID_REASONS,
  encodeClick,
  encodedTraceparent,
  ID_MAX,
  PRICE_MICROS_MAX,
  parseClickKey,
  REFERRER_HOST_MAX,
  type ReadRecord,
  USER_AGENT_MAX,
  WATERMARK_MAX,
  watermarkRecord,
} from '../../contract/click-event.ts';
import { PUBLISHER_MAX } from '../../contract/publisher.ts';
import { readRecord } from '../../contract/read-record.ts';
import { SUB_ID_MAX, SUB_ID_NAMES, type SubIds } from '../../contract/sub-ids.ts';
import { clickEvent } from '../support/records.ts';

const time = fc.integer({ min: 0, max: 2 ** 48 - 1 });
const id = fc.integer({ min: 1, max: ID_MAX });
const text = fc.option(
  fc.string({ unit: fc.constantFrom('a', '"', '\\', '\0', '\n', 'é', '€', '😀', '\ud800') }),
);
const value = fc.string({
  unit: fc.constantFrom('a', '"', '\\', 'é', '😀'),
  minLength: 1,
  maxLength: SUB_ID_MAX,
});
const subIds = fc
  .dictionary(fc.constantFrom(...SUB_ID_NAMES), value, { minKeys: 1, noNullPrototype: true })
  .map((drawn): SubIds => drawn);
const required = fc.record({
  clickedAt: time,
  nonce: fc.option(time.map((timeMs) => uuidV7(timeMs))),
  adId: id,
  campaignId: id,
  advertiserId: id,
  priceMicros: fc.integer({ min: 1, max: PRICE_MICROS_MAX }),
  invalid: fc.option(fc.constantFrom(...EDGE_INVALID_REASONS)),
  budgetExhausted: fc.boolean(),
  visitorNetwork: text,
  userAgent: text,
  referrerHost: text,
});
const optional = fc.record(
  {
    held: fc.constant(true),
    publisher: fc.stringMatching(/^[A-Za-z0-9_-]{1,32}$/),
    subIds,
    traceparent: fc.stringMatching(/^00-[1-9a-f]{32}-[1-9a-f]{16}-[0-9a-f]{2}$/),
  },
  { requiredKeys: [] },
);
const event: fc.Arbitrary<ClickEvent> = fc
  .tuple(required, optional)
  .map(([drawn, more]) => ({ clickId: uuidV7(drawn.clickedAt), ...drawn, ...more }));

const read = (value: Buffer | null, key: string | null = null): ReadRecord =>
  readRecord({ key, value }, 'here');

/** An event with changed fields, as bytes. */
function changed(changes: Record<string, unknown>): Buffer {
  return Buffer.from(JSON.stringify({ ...JSON.parse(encodeClick(clickEvent())), ...changes }));
}

describe('a click event', () => {
  it('is the same after encoding and reading', () => {
    fc.assert(
      fc.property(event, (given) => {
        const record = read(Buffer.from(encodeClick(given)));
        expect(record.is).toBe('click');
        if (record.is === 'click') {
          const absent = { held: false, publisher: null, subIds: null, traceparent: null };
          expect({ ...record.click, clickId: record.click.clickId }).toMatchObject({ ...absent, ...given });
        }
        expect(encodedTraceparent(Buffer.from(encodeClick(given)))).toBe(given.traceparent ?? null);
      }),
      { numRuns: 300 },
    );
  });

  it.each(['priceMicros', 'campaignId', 'advertiserId'] as const)(
    'has its own %s, also behind a click on the same ad with another one',
    (field) => {
      for (const change of [{}, { [field]: 1_234 }, { [field]: 1_235 }, {}]) {
        const given = { ...clickEvent(), ...change };
        expect(JSON.parse(encodeClick(given))[field]).toBe(given[field]);
      }
    },
  );

  it('is the same click if its ids are in upper case', () => {
    const ours = read(changed({ nonce: uuidV7() }));
    const { clickId, nonce } = JSON.parse(String(ours.value)) as { clickId: string; nonce: string };
    const foreign = String(ours.value)
      .replace(clickId, clickId.toUpperCase())
      .replace(nonce, nonce.toUpperCase());
    expect(read(Buffer.from(foreign))).toMatchObject({ is: 'click', click: { clickId, nonce } });
  });

  it('can begin with a byte order mark', () => {
    const ours = read(changed({}));
    const marked = Buffer.concat([Buffer.from('\ufeff'), ours.value ?? Buffer.alloc(0)]);
    expect(read(marked)).toMatchObject({ is: 'click', click: ours.is === 'click' ? ours.click : null });
  });

  it('can be without a publisher and sub-ids, or have null in their fields', () => {
    const ours = read(changed({ publisher: null, subIds: null }));
    expect(ours).toMatchObject({ is: 'click', click: { publisher: null, subIds: null } });
    expect(encodeClick({ ...clickEvent(), publisher: null, subIds: null })).not.toMatch(
      /"publisher":|"subIds":/,
    );
    expect(read(changed({ subIds: {} })).is).toBe('click');
  });

  it('has at most CLICK_BYTES_MAX bytes with the longest value in every field', () => {
    const longest = encodeClick({
      ...clickEvent({ nonce: uuidV7(), priceMicros: PRICE_MICROS_MAX, invalid: 'not_navigation' }),
      ...{ adId: ID_MAX, campaignId: ID_MAX, advertiserId: ID_MAX, visitorNetwork: 'ffff:ffff:ffff::/48' },
      userAgent: '\0'.repeat(USER_AGENT_MAX),
      referrerHost: 'a'.repeat(REFERRER_HOST_MAX),
      publisher: 'p'.repeat(PUBLISHER_MAX),
      subIds: Object.fromEntries(SUB_ID_NAMES.map((name) => [name, '😀'.repeat(SUB_ID_MAX)])),
      traceparent: `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`,
    });
    expect(read(Buffer.from(longest)).is).toBe('click');
    expect(Buffer.byteLength(longest)).toBeLessThan(CLICK_BYTES_MAX);
  });

  it.each([
    ...[null, 1, true, '', 'x', [], {}, { length: 55 }],
    ...[`00-${'0'.repeat(32)}-${'b'.repeat(16)}-01`, `01-${'a'.repeat(32)}-${'b'.repeat(16)}-01`],
    ...['x'.repeat(5_000), Array(1_000).fill({})],
  ])('is read without a trace if traceparent has a value of another form (%#)', (traceparent) => {
    const value = changed({ traceparent });
    expect(read(value)).toMatchObject({ is: 'click', click: { traceparent: null } });
    expect(encodedTraceparent(value)).toBeNull();
  });

  it('can have unknown fields', () => {
    expect(read(changed({ later: { more: true } })).is).toBe('click');
  });

  const fields = [
    'clickId',
    'nonce',
    'adId',
    'campaignId',
    'advertiserId',
    'priceMicros',
    'clickedAt',
    'invalid',
  ];
  const texts = ['budgetExhausted', 'visitorNetwork', 'userAgent', 'referrerHost'];
  it.each([...fields, ...texts])('is unreadable without %s, and with an invalid value in it', (field) => {
    const odd = [
      undefined,
      {},
      [],
      [1],
      1.5,
      -1,
      0,
      '',
      'x',
      Number.MAX_SAFE_INTEGER,
      2 ** 53,
      '1',
      { length: 1 },
    ];
    const allowed = (value: unknown) =>
      texts.includes(field) && field !== 'budgetExhausted' && typeof value === 'string';
    for (const value of odd.filter((one) => !allowed(one))) {
      expect(read(changed({ [field]: value }))).toMatchObject({ is: 'unreadable', reason: 'malformed' });
      const { detail } = read(changed({ [field]: value })) as { detail: string };
      expect(detail).toContain(field);
    }
  });

  it.each([
    ['an id without dashes', () => ({ clickId: uuidV7().replaceAll('-', '') })],
    ['an id of version 4', () => ({ clickId: '0190163d-8694-439b-aea5-966c26f8ad91' })],
    ['a time other than that of its id', () => ({ clickedAt: Date.now() - 86_400_000 })],
    ['no ad', () => ({ adId: null })],
    ['an id above ID_MAX', () => ({ advertiserId: ID_MAX + 1 })],
    ['a price of 0', () => ({ priceMicros: 0 })],
    ['a price beyond the highest', () => ({ priceMicros: PRICE_MICROS_MAX + 1 })],
    ['a reason that only the handler gives', () => ({ invalid: 'repeat' })],
    ['an empty publisher', () => ({ publisher: '' })],
    ['a publisher of 33 characters', () => ({ publisher: 'p'.repeat(33) })],
    ['a publisher with a dot', () => ({ publisher: 'example.com' })],
    ['a publisher that is not a text', () => ({ publisher: 1 })],
    ['a sub-id with another name', () => ({ subIds: { sub6: 'a' } })],
    ['an empty sub-id', () => ({ subIds: { sub1: '' } })],
    ['a sub-id of 101 characters', () => ({ subIds: { sub1: '😀'.repeat(101) } })],
    ['a sub-id with a control character', () => ({ subIds: { sub1: 'a\0' } })],
    ['a sub-id that is not a text', () => ({ subIds: { sub1: 1 } })],
    ['sub-ids in a list', () => ({ subIds: ['a'] })],
    ['a budget-exhausted flag that is not a boolean', () => ({ budgetExhausted: 'true' })],
    ['a held flag that is not a boolean', () => ({ held: null })],
  ])('is unreadable with %s', (_, changes) => {
    expect(read(changed(changes()))).toMatchObject({ is: 'unreadable', reason: 'malformed' });
  });

  it('is of an unknown version if its version is another number, and malformed if it has none', () => {
    for (const v of [0, 2, -1, 1.5, 1e300]) {
      expect(read(changed({ v }))).toMatchObject({ is: 'unreadable', reason: 'unknown_version' });
    }
    for (const v of [undefined, null, '1', true, [1]]) {
      expect(read(changed({ v }))).toMatchObject({ is: 'unreadable', reason: 'malformed' });
    }
  });

  it('is unreadable above CLICK_BYTES_MAX, and readable at that size', () => {
    const shortest = changed({ userAgent: '' }).length;
    const fitting = changed({ userAgent: 'a'.repeat(CLICK_BYTES_MAX - shortest) });
    expect(fitting.length).toBe(CLICK_BYTES_MAX);
    expect(read(fitting).is).toBe('click');
    expect(read(Buffer.concat([fitting, Buffer.from(' ')])).is).toBe('unreadable');
  });
});

describe('bytes that are not a click', () => {
  it('are unreadable for any bytes, without an exception', () => {
    const json = fc.json({ maxDepth: 4 }).map((one) => Buffer.from(one));
    const bytes = fc.uint8Array({ maxLength: 300 }).map((one) => Buffer.from(one));
    fc.assert(
      fc.property(fc.oneof(json, bytes), (value) => {
        const reason = expect.stringMatching(/^(malformed|unknown_version)$/);
        expect(read(value)).toMatchObject({ is: 'unreadable', reason, value, position: 'here' });
      }),
      { numRuns: 500 },
    );
  });

  it.each([
    'null',
    'true',
    '1',
    '"text"',
    '[]',
    '[{"v":1}]',
    '{}',
    '{"v":1}',
    '{"v":1,"watermark":{}}',
    '['.repeat(8_000),
  ])('such as %.20s are unreadable', (value) => {
    expect(read(Buffer.from(value))).toMatchObject({ is: 'unreadable', reason: 'malformed' });
  });

  it('have the sequence of their key', () => {
    const spoolId = uuidV7();
    expect(read(null, clickKey(spoolId, 17))).toMatchObject({
      is: 'unreadable',
      from: { spoolId, sequence: 17 },
    });
  });

  it('are unreadable, or a valid click, after one changed byte in a click', () => {
    const change = fc.tuple(event, fc.nat(), fc.integer({ min: 1, max: 255 }));
    fc.assert(
      fc.property(change, ([given, at, by]) => {
        const value = Buffer.from(encodeClick(given));
        const index = at % value.length;
        value[index] = (value[index] ?? 0) ^ by;
        const record = read(value);
        if (record.is === 'click')
          expect(read(Buffer.from(encodeClick(record.click)))).toMatchObject({ is: 'click' });
        else expect(record.is).toBe('unreadable');
      }),
      { numRuns: 500 },
    );
  });
});

describe('a key', () => {
  it('contains a spool id and a sequence', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 999_999_999_999_999 }), (sequence) => {
        const spoolId = uuidV7();
        expect(parseClickKey(clickKey(spoolId, sequence))).toEqual({ spoolId, sequence });
      }),
    );
  });

  const spoolId = '0190163d-8694-739b-aea5-966c26f8ad91';
  it.each([
    null,
    '',
    spoolId,
    `${spoolId}.`,
    `${spoolId}.0`,
    `${spoolId}.01`,
    `${spoolId}.-1`,
    `${spoolId}.1.5`,
    `${spoolId}.1e3`,
    `${spoolId}.watermark`,
    `${spoolId}.1 `,
    `${spoolId}.9999999999999999`,
    `${spoolId.toUpperCase()}.1`,
    `x${spoolId}.1`,
    `${spoolId}x1`,
  ])('%j is not the key of a click', (key) => {
    expect(parseClickKey(key)).toBeNull();
  });
});

it('The detail of a record that is not JSON has its size', () => {
  const read = (text: string) => readRecord({ key: null, value: Buffer.from(text) }, 'test');
  expect(read('x')).toMatchObject({ detail: 'Expected JSON, got 1 byte of other data' });
  expect(read('xx')).toMatchObject({ detail: 'Expected JSON, got 2 bytes of other data' });
});

describe('a watermark', () => {
  it('is the same after encoding and reading, and has no sequence', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: WATERMARK_MAX }), (accepted) => {
        const spoolId = uuidV7();
        const record = readRecord(watermarkRecord(spoolId, accepted), 'here');
        expect(record).toMatchObject({ is: 'watermark', spoolId, accepted, from: null });
      }),
    );
  });

  it.each([{ spoolId: 'x' }, { accepted: -1 }, { accepted: 1.5 }, { accepted: '1' }, { accepted: 2 ** 53 }])(
    'with %j in it is unreadable',
    (changes) => {
      const watermark = { spoolId: uuidV7(), accepted: 1, ...changes };
      const value = Buffer.from(JSON.stringify({ v: 1, watermark }));
      expect(read(value, `${watermark.spoolId}.watermark`)).toMatchObject({ is: 'unreadable' });
    },
  );

  it('under the key of a click is unreadable', () => {
    const { value } = watermarkRecord(uuidV7(), 5);
    expect(read(value, clickKey(uuidV7(), 3))).toMatchObject({ is: 'unreadable', from: { sequence: 3 } });
  });
});
