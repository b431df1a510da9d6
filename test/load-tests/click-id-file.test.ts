import { expect, it } from 'vitest';
import { uuidV7 } from '../../common/uuid.ts';
import { ClickIdFile } from '../../load-tests/replay/click-id-file.ts';

it('keeps distinct click ids in insertion order', () => {
  const file = new ClickIdFile();
  const ids = Array.from({ length: 10_000 }, () => uuidV7());
  for (const id of [...ids, ...ids]) file.add(id);
  expect(file.size).toBe(ids.length);
  expect([...file.slice(0, 6_000), ...file.slice(6_000, 6_000)]).toEqual(ids);
  expect(file.slice(ids.length, 10)).toEqual([]);
  file.close();
});
