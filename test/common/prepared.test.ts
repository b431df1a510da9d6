import { expect, it } from 'vitest';
import { prepared } from '../../common/postgres/prepared.ts';

const TEXTS = ['select $1::int', 'select $1::int + 1'];

/** The names that a process gives which prepares statements in this order. */
async function namesInOrder(process: number, texts: readonly string[]): Promise<Map<string, unknown>> {
  const url = `${new URL('../../common/postgres/prepared.ts', import.meta.url)}?process=${process}`;
  const own: { prepared: typeof prepared } = await import(url);
  expect(own.prepared).not.toBe(prepared);
  return new Map(texts.map((text) => [text, own.prepared(text, [1]).name]));
}

it('a statement has the same name in each process, and another one than other statements', async () => {
  const first = await namesInOrder(1, TEXTS);
  const second = await namesInOrder(2, TEXTS.toReversed());
  for (const text of TEXTS) expect(second.get(text)).toBe(first.get(text));
  expect(new Set(first.values()).size).toBe(TEXTS.length);
});

it('a name is short enough for pg, which warns of more than 63 characters', () => {
  expect(prepared('select '.repeat(1_000), []).name?.length).toBeLessThanOrEqual(63);
});
