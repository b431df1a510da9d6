import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { WEBHOOK_EVENT_TYPES } from '../../contract/webhook-event.ts';
import { cellsOf, readPage, rowsOf } from '../support/markdown.ts';
import { eventSchemas, schemaErrors } from '../support/webhook-events.ts';

const page = readPage('docs/webhooks.md');

describe('contract/webhook-events', () => {
  it('has one schema for each type of event', () => {
    const files = readdirSync(join(import.meta.dirname, '..', '..', 'contract', 'webhook-events'));
    expect(files.sort()).toEqual(WEBHOOK_EVENT_TYPES.map((type) => `${type}.schema.json`).sort());
  });

  it.each([...eventSchemas])(
    '%s accepts its examples, and no other type or missing field',
    (type, schema) => {
      expect(schema.$id).toBe(`urn:tollway:webhook:${type}:1`);
      expect(schema.examples).not.toEqual([]);
      for (const example of schema.examples) {
        expect([example.type, schemaErrors(example)]).toEqual([type, '']);
        const { data } = example as unknown as { data: Record<string, unknown> };
        for (const field of Object.keys(data)) {
          const { [field]: _, ...rest } = data;
          expect(schemaErrors({ ...example, data: rest } as { type: string }), field).not.toBe('');
        }
        expect(schemaErrors({ ...example, timestamp: '31 Jan 2026' } as { type: string })).not.toBe('');
      }
    },
  );
});

describe('docs/webhooks.md', () => {
  it('lists every event', () => {
    const named = rowsOf(page, 'event').map((row) => cellsOf(row)[0]?.replaceAll('`', ''));
    expect(named).toEqual([...WEBHOOK_EVENT_TYPES]);
  });

  it('shows an example of every event, as the schema has it', () => {
    const shown = [...page.matchAll(/```json\n(.*?)```/gs)].map(([, body = '']) => JSON.parse(body));
    const events = shown.filter(({ type }) => eventSchemas.has(type));
    expect(events).toEqual([...eventSchemas.values()].flatMap(({ examples }) => examples));
  });
});
