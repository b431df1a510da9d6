import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Ajv2020 } from 'ajv/dist/2020.js';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { uuidV7, uuidV7TimeMs } from '../../common/uuid.ts';
import {
  type ClickEvent,
  EDGE_INVALID_REASONS,
  encodeClick,
  ID_MAX,
  PRICE_MICROS_MAX,
} from '../../contract/click-event.ts';
import { readRecord } from '../../contract/read-record.ts';
import { cellsOf, readPage, rowsOf } from '../support/markdown.ts';
import { clickEvent } from '../support/records.ts';

const root = join(import.meta.dirname, '..', '..');
type Schema = { required: string[]; properties: Record<string, { enum?: unknown[] }>; $id: string };
const schema = JSON.parse(readFileSync(join(root, 'contract/click-event.schema.json'), 'utf8')) as Schema;
const fits = new Ajv2020({ allowUnionTypes: true }).compile(schema);
const page = readPage('docs/events.md');

const readsAsClick = (body: unknown): boolean =>
  readRecord({ key: null, value: Buffer.from(JSON.stringify(body)) }, 'test').is === 'click';

/** The rule that JSON Schema cannot express. */
function hasTimeOfItsId(body: Record<string, unknown>): boolean {
  return typeof body.clickId === 'string' && uuidV7TimeMs(body.clickId.toLowerCase()) === body.clickedAt;
}

const id = fc.integer({ min: 1, max: ID_MAX });
const text = fc.option(fc.string({ unit: fc.constantFrom('a', '"', '\\', '\0', '€', '😀', '\ud800') }));
const event: fc.Arbitrary<ClickEvent> = fc
  .record({
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
    publisher: fc.option(fc.stringMatching(/^[A-Za-z0-9_-]{1,32}$/)),
    traceparent: fc.option(fc.constant(`00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`)),
    subIds: fc.option(fc.constantFrom({ sub1: 'a', sub5: '"€😀'.repeat(25) }, { sub2: '\ud800' })),
  })
  .chain((drawn) =>
    fc.constantFrom({}, { held: true }).map((optional) => ({
      clickId: uuidV7(drawn.clickedAt),
      ...drawn,
      ...optional,
    })),
  );

/** Values near the limits of the fields, and any JSON. */
const odd: fc.Arbitrary<unknown> = fc.oneof(
  fc.constantFrom(
    ...[null, true, 0, -1, 1, 1.5, '1', '', [], {}],
    ...[ID_MAX, ID_MAX + 1, PRICE_MICROS_MAX, PRICE_MICROS_MAX + 1],
    ...['bot', 'repeat', 'expired', uuidV7(), uuidV7().toUpperCase(), uuidV7().replaceAll('-', '')],
    '0190163d-8694-439b-aea5-966c26f8ad91',
    { spoolId: uuidV7(), accepted: 1 },
    ...['p'.repeat(32), 'p'.repeat(33), 'p.q', 'p\n', { sub1: '😀'.repeat(100) }, { sub1: '😀'.repeat(101) }],
    ...[
      { sub6: 'a' },
      { sub1: 1 },
      { sub1: '' },
      { sub1: '\0' },
      { sub1: '\x9f' },
      { sub1: '\xa0' },
      { toString: 'a' },
    ],
  ),
  fc.jsonValue(),
);
const fields = [...schema.required, 'held', 'publisher', 'subIds', 'traceparent', 'watermark', 'later'];

describe('contract/click-event.schema.json', () => {
  it('accepts every encoded click', () => {
    fc.assert(
      fc.property(event, (click) => {
        expect(fits(JSON.parse(encodeClick(click))), JSON.stringify(fits.errors)).toBe(true);
      }),
      { numRuns: 300 },
    );
  });

  it('accepts exactly the events that the processor reads as clicks', () => {
    let accepted = 0;
    let rejected = 0;
    fc.assert(
      fc.property(
        event,
        fc.array(fc.tuple(fc.constantFrom(...fields), fc.option(odd, { nil: undefined })), { maxLength: 2 }),
        (click, changes) => {
          const body: Record<string, unknown> = JSON.parse(encodeClick(click));
          for (const [field, value] of changes) {
            body[field] = value;
            // clickedAt follows a changed id, so that only the id is tested.
            if (field === 'clickId' && typeof value === 'string' && value.length === 36)
              body.clickedAt = uuidV7TimeMs(value.toLowerCase());
          }
          const sent = JSON.parse(JSON.stringify(body)) as Record<string, unknown>;
          const isClick = readsAsClick(sent);
          if (isClick) accepted += 1;
          else rejected += 1;
          expect(fits(sent) && hasTimeOfItsId(sent), JSON.stringify(sent)).toBe(isClick);
        },
      ),
      { numRuns: 3_000 },
    );
    expect(Math.min(accepted, rejected)).toBeGreaterThan(300);
  });

  it('rejects an event that lacks a field', () => {
    for (const field of schema.required) {
      const body = JSON.parse(encodeClick(clickEvent())) as Record<string, unknown>;
      delete body[field];
      expect(fits(body), field).toBe(false);
      expect(readsAsClick(body), field).toBe(false);
    }
  });

  it('has the id that published events name', () => {
    expect(readFileSync(join(root, 'brokers/kafka/cloud-event.ts'), 'utf8')).toContain('urn:tollway:click:$');
    expect(schema.$id).toBe('urn:tollway:click:1');
  });
});

describe('docs/events.md', () => {
  it('lists every field of a click in the order in which it is written', () => {
    const named = rowsOf(page, 'field').map((row) => cellsOf(row)[0]?.replaceAll('`', ''));
    expect(named).toEqual(Object.keys(JSON.parse(encodeClick(clickEvent()))));
    expect(named).toEqual(schema.required);
    const optional = rowsOf(page, 'optional field').map((row) => cellsOf(row)[0]?.replaceAll('`', ''));
    const click = clickEvent({
      held: true,
      publisher: 'p',
      subIds: { sub1: 'a' },
      traceparent: `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`,
    });
    expect([...named, ...optional]).toEqual(Object.keys(JSON.parse(encodeClick(click))));
    const others = Object.keys(schema.properties).filter((field) => !schema.required.includes(field));
    expect(optional).toEqual(others.filter((field) => field !== 'watermark'));
  });

  it('shows a click and a watermark that the processor reads', () => {
    const [click = '', watermark = ''] = [...page.matchAll(/```json\n(.*?)```/gs)].map(([, body]) => body);
    expect(readsAsClick(JSON.parse(click))).toBe(true);
    expect(fits(JSON.parse(click))).toBe(true);
    const { spoolId } = (JSON.parse(watermark) as { watermark: { spoolId: string } }).watermark;
    const record = { key: `${spoolId}.watermark`, value: Buffer.from(watermark) };
    expect(readRecord(record, 'docs').is).toBe('watermark');
    expect(fits(JSON.parse(watermark))).toBe(false);
  });

  it('lists the reasons of invalid clicks', () => {
    const [row = ''] = rowsOf(page, 'field').filter((line) => line.startsWith('| `invalid`'));
    const named = [...row.matchAll(/`([a-z_]+)`/g)].map(([, word]) => word);
    expect(named).toEqual(['invalid', ...EDGE_INVALID_REASONS, 'null']);
    expect(schema.properties.invalid?.enum).toEqual([null, ...EDGE_INVALID_REASONS]);
  });

  it('lists the headers of records in Kafka', () => {
    const source = readFileSync(join(root, 'brokers/kafka/cloud-event.ts'), 'utf8');
    const written = new Set([...source.matchAll(/\b(ce_\w+)\b/g)].map(([, name]) => name));
    const named = rowsOf(page, 'header').map((row) => cellsOf(row)[0]?.replaceAll('`', ''));
    expect(named.filter((name) => name?.startsWith('ce_')).sort()).toEqual([...written].sort());
  });
});
