import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { uuidV7 } from '../../common/uuid.ts';
import {
  type ClickEvent,
  EDGE_INVALID_REASONS,
  encodeClick,
  ID_MAX,
  PRICE_MICROS_MAX,
  type ReadRecord,
} from '../../contract/click-event.ts';
import { decodeClick } from '../../contract/decode-click.ts';
import { compareClicks, type DecodedClick } from '../../contract/decoded-click.ts';
import { readRecord } from '../../contract/read-record.ts';
import { SUB_ID_NAMES } from '../../contract/sub-ids.ts';
import { clickEvent } from '../support/records.ts';

const text = fc.option(
  fc.oneof(
    {
      weight: 40,
      arbitrary: fc.string({ unit: fc.constantFrom(...'aZ0 .:/;(),-_{}[]~\u007f'), maxLength: 60 }),
    },
    {
      weight: 1,
      arbitrary: fc.string({ unit: fc.constantFrom('a', '"', '\\', '\n', 'é', '😀'), maxLength: 9 }),
    },
  ),
);
const id = fc.integer({ min: 1, max: ID_MAX });
const event: fc.Arbitrary<ClickEvent> = fc
  .tuple(
    fc.record({
      clickedAt: fc.integer({ min: 0, max: 2 ** 48 - 1 }),
      nonce: fc.option(fc.integer({ min: 0, max: 2 ** 48 - 1 }).map((timeMs) => uuidV7(timeMs))),
      adId: id,
      campaignId: id,
      advertiserId: id,
      priceMicros: fc.integer({ min: 1, max: PRICE_MICROS_MAX }),
      invalid: fc.option(fc.constantFrom(...EDGE_INVALID_REASONS)),
      budgetExhausted: fc.boolean(),
      visitorNetwork: text,
      userAgent: text,
      referrerHost: text,
    }),
    fc.record(
      {
        held: fc.constant(true),
        publisher: fc.stringMatching(/^[A-Za-z0-9_-]{1,32}$/),
        subIds: fc.dictionary(fc.constantFrom(...SUB_ID_NAMES), fc.constantFrom('a', 'b-1', 'c.2', 'é'), {
          minKeys: 1,
          noNullPrototype: true,
        }),
        traceparent: fc.stringMatching(/^00-[1-9a-f]{32}-[1-9a-f]{16}-[0-9a-f]{2}$/),
      },
      { requiredKeys: [] },
    ),
  )
  .map(([drawn, more]) => ({ clickId: uuidV7(drawn.clickedAt), ...drawn, ...more }));

/** Pieces of JSON that change the meaning of an event, or keep it. */
const PIECES = [
  ...['"', '\\', '{', '}', '[', ']', ',', ':', '0', '-', '.', 'e', ' ', '\n', '\0', '\u007f', 'é', '\ufeff'],
  ...['null', 'true', 'false', '1.0', '1e3', '00', '-1', '9007199254740993', '\\u0041', '"held":true,'],
  ...[
    ',"held":false',
    ',"publisher":null',
    ',"subIds":{}',
    ',"v":1',
    ',"adId":7',
    ',"later":{}',
    '"sub1":"x",',
  ],
] as const;
type Mutation = { readonly at: number; readonly removed: number; readonly piece: string };
const mutation: fc.Arbitrary<Mutation> = fc.record({
  at: fc.double({ min: 0, max: 1, noNaN: true }),
  removed: fc.constantFrom(0, 0, 1, 1, 2, 5, 40),
  piece: fc.oneof(fc.constant(''), fc.constantFrom(...PIECES), fc.string({ minLength: 1, maxLength: 1 })),
});

function mutate(bytes: Buffer, mutations: readonly Mutation[]): Buffer {
  let mutated = bytes;
  for (const { at, removed, piece } of mutations) {
    const from = Math.floor(at * mutated.length);
    mutated = Buffer.concat([
      mutated.subarray(0, from),
      Buffer.from(piece),
      mutated.subarray(from + removed),
    ]);
  }
  return mutated;
}

/** Reads bytes as JSON: `decodeClick` refuses the space, JSON does not. */
function readAsJson(value: Buffer): ReadRecord {
  const spaced = Buffer.concat([value, Buffer.from(' ')]);
  expect(decodeClick(spaced)).toBeNull();
  return readRecord({ key: null, value: spaced }, 'here');
}

/** What a record says, without its bytes and their number. */
function meaningOf(record: ReadRecord): unknown {
  if (record.is === 'click') return { ...record.click, clickId: record.click.clickId };
  return {
    ...record,
    value: null,
    detail: 'detail' in record ? record.detail.replace(/\d+ bytes?/, '') : '',
  };
}

function expectSameMeaning(value: Buffer): void {
  const [ours, theirs] = [readRecord({ key: null, value }, 'here'), readAsJson(value)].map(meaningOf);
  // toEqual explains a difference, and takes longer to find that there is none.
  if (!isDeepStrictEqual(ours, theirs)) expect(ours).toEqual(theirs);
}

describe('the decoder of click events', () => {
  it('decodes every event of encodeClick with plain texts, like JSON.parse', () => {
    fc.assert(
      fc.property(event, (given) => {
        const value = Buffer.from(encodeClick(given));
        const decoded = decodeClick(value);
        const isPlain = /^[\x20-\x7f]*$/.test(String(value)) && !String(value).includes('\\');
        // An event of 1970 has the time 0, which the decoder leaves to JSON.parse.
        if (isPlain && given.clickedAt > 0) expect(decoded).not.toBeNull();
        expectSameMeaning(value);
      }),
      { numRuns: 2_000 },
    );
  });

  it('reads a changed event as JSON.parse and the checks do: the same click, or the same error', () => {
    let decoded = 0;
    const mutations = fc.array(mutation, { minLength: 1, maxLength: 3 });
    // Several of each event, which takes longer to generate.
    const several = fc.array(mutations, { minLength: 10, maxLength: 10 });
    fc.assert(
      fc.property(event, several, (given, variants) => {
        const bytes = encodeClick(given);
        for (const variant of variants) {
          const value = mutate(Buffer.from(bytes), variant);
          if (decodeClick(value) !== null) decoded += 1;
          expectSameMeaning(value);
        }
      }),
      { numRuns: 1_000 },
    );
    // Changes inside of texts and numbers leave an event that the decoder accepts.
    expect(decoded).toBeGreaterThan(100);
  });

  const whole = encodeClick({
    ...clickEvent({
      clickedAt: 1_800_000_000_000,
      nonce: uuidV7(1_790_000_000_000),
      invalid: 'bot',
      priceMicros: 5,
    }),
    ...{
      clickId: '01a3185c-5000-7abc-8def-0123456789ab',
      held: true,
      publisher: 'news',
      subIds: { sub1: 'x', sub2: 'y' },
    },
    traceparent: `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`,
  });
  it.each([
    ...(['-7abc-', '-4abc-', '-7ABC-', '-7abg-'] as const).map((to) => ['-7abc-', to] as const),
    ...(['-cdef-', '-7def-', '-8DEF-'] as const).map((to) => ['-8def-', to] as const),
    ...([
      ['"nonce":"', '"nonce":"0'],
      ['"clickedAt":1800000000000', '"clickedAt":1800000000001'],
    ] as const),
    ...(['0', '01', '1.0', '1e0', '-1', '2147483647', '2147483648', '"1"'] as const).map(
      (to) => ['"adId":1', `"adId":${to}`] as const,
    ),
    ...(['1000000000000000', '1000000000000001', '10000000000000000', '5e0'] as const).map(
      (to) => ['"priceMicros":5', `"priceMicros":${to}`] as const,
    ),
    ...([
      ['"bot"', '"other"'],
      ['"bot"', '"repeat"'],
      ['"held":true', '"held":false'],
      ['"held":true', '"held":null'],
    ] as const),
    ...(['', 'a b', 'p'.repeat(33), 'é'] as const).map((to) => ['"news"', `"${to}"`] as const),
    ...(['"sub6"', '"sub2"', '"__proto__"', '"constructor"', 'null'] as const).map(
      (to) => ['"sub1"', to] as const,
    ),
    ...(['""', '"\u007f"', `"${'x'.repeat(100)}"`, `"${'x'.repeat(101)}"`, 'null', '1'] as const).map(
      (to) => ['"x"', to] as const,
    ),
    ...([
      ['-01"}', '-01"} '],
      ['-01"}', '-01"}}'],
      ['-01"}', '-02"}'],
      ['-01"}', '-0g"}'],
      ['"00-a', '"01-a'],
    ] as const),
    ...([
      ['{"v":1', '{"v":2'],
      ['{"v":1', '{ "v":1'],
      ['"v":1,', ''],
      [',"adId":1', ',"adId":1,"adId":2'],
    ] as const),
    ...([
      ['"192.0.2.0/24"', '7'],
      ['"Mozilla', '"\\u004dozilla'],
      ['"Mozilla', '"\u007fMozilla'],
    ] as const),
  ])('reads an event with %j replaced by %j as JSON.parse and the checks do', (from, to) => {
    expect(whole).toContain(from);
    const value = Buffer.from(whole.replace(from, to));
    expectSameMeaning(value);
  });

  it('refuses an event that ends early, at every byte, also if other bytes follow in the same memory', () => {
    const bytes = Buffer.from(whole);
    for (let length = 0; length < bytes.length; length += 1) {
      expect(decodeClick(bytes.subarray(0, length))).toBeNull();
      expect(decodeClick(Buffer.from(bytes.subarray(0, length)))).toBeNull();
    }
    expect(decodeClick(bytes)).not.toBeNull();
  });

  it('orders clicks by the texts of their ids', () => {
    const click = (clickId: string, clickedAt: number) =>
      decodeClick(Buffer.from(encodeClick({ ...clickEvent(), clickId, clickedAt }))) as DecodedClick;
    const time = fc.integer({ min: 1, max: 2 ** 48 - 1 });
    fc.assert(
      fc.property(time, time, fc.boolean(), (one, other, isSame) => {
        const clicks = [
          click(uuidV7(one), one),
          click(uuidV7(isSame ? one : other), isSame ? one : other),
        ] as const;
        const [first, second] = clicks.map(({ clickId }) => clickId) as [string, string];
        expect(Math.sign(compareClicks(...clicks))).toBe(first < second ? -1 : 1);
        expect(compareClicks(clicks[0], clicks[0])).toBe(0);
      }),
    );
  });
});
