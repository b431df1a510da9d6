import { expect, it } from 'vitest';
import { uuidV7 } from '../../common/uuid.ts';
import { createSigner, createVerifier } from '../../contract/link-token.ts';
import type { HttpTarget } from '../../load-tests/load/http-target.ts';
import { ClickIdFile } from '../../load-tests/replay/click-id-file.ts';
import { createHttpReplayTarget } from '../../load-tests/replay/http-target.ts';
import { DAY_MS, k1 } from '../support/link-samples.ts';

const verify = createVerifier([k1], 90 * DAY_MS);

/** Paths that a replay of one event requests. */
function pathsOf(event: Readonly<Record<string, unknown>>): string[] {
  const paths: string[] = [];
  const target: HttpTarget = {
    click: ({ path }) => void paths.push(path),
    probe: () => Promise.resolve(302),
    close: () => Promise.resolve(),
  };
  const ids = new ClickIdFile();
  const replay = createHttpReplayTarget(target, { sign: createSigner([k1]), speed: 1, ids });
  replay.take({ is: 'event', line: 1, clickedAt: Date.now(), adId: 7, event }, performance.now());
  ids.close();
  return paths;
}

it('a replay over HTTP signs links with the publishers of the events', () => {
  const linkOf = (event: Readonly<Record<string, unknown>>) => verify(pathsOf(event)[0]?.slice(3) ?? '');
  expect(linkOf({ nonce: null, publisher: 'example-news' })).toMatchObject({
    ...{ adId: 7, nonce: null, publisher: 'example-news' },
  });
  expect(linkOf({ nonce: uuidV7(), publisher: 'example-news' })).toMatchObject({
    ...{ adId: 7, nonce: expect.any(String), publisher: 'example-news' },
  });
  expect(linkOf({ nonce: null, publisher: null })).toMatchObject({ publisher: null });
  const [path] = pathsOf({ nonce: null, subIds: { sub1: 'a&b', sub3: 'é' } });
  expect(new URL(path ?? '', 'http://ads.example').search).toBe('?sub1=a%26b&sub3=%C3%A9');
  expect(linkOf({ nonce: null, publisher: 'example.com' })).toMatchObject({ publisher: null });
});
