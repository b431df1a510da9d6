import { expect, test } from 'vitest';
import { nextSteps } from '../../../console/page/views/advertisers/steps.ts';
import { linksCsv, linksText } from '../../../console/page/views/campaigns/link-files.ts';

const done = (...from: Parameters<typeof nextSteps>) =>
  nextSteps(...from)
    .filter(({ isDone }) => isDone)
    .map(({ step }) => step);

test('the steps of an advertiser are done by what exists', () => {
  expect(done({ budget: '0.00', spent: '0.00' }, [], [])).toEqual([]);
  expect(done({ budget: '5.00', spent: '0.00' }, [{ id: 1 }], [])).toEqual(['top_up', 'campaign']);
  expect(done({ budget: '5.00', spent: '0.25' }, [{ id: 1 }], [{ id: 1 }])).toHaveLength(4);
});

test('links are saved one a line, or as CSV', () => {
  const links = ['http://127.0.0.1/c/1.k1.1.a', 'http://127.0.0.1/c/1.k1.1.b'];
  const made = {
    adId: 9,
    adName: 'Banner 300x250, blue',
    isEvergreen: false,
    publisher: 'daily-news',
    links,
  };
  expect(linksText(made)).toBe(`${links[0]}\n${links[1]}\n`);
  expect(linksCsv(made).split('\n')).toEqual([
    'link,ad_id,ad_name,publisher,kind',
    `${links[0]},9,"Banner 300x250, blue",daily-news,impression`,
    `${links[1]},9,"Banner 300x250, blue",daily-news,impression`,
    '',
  ]);
  expect(linksCsv({ ...made, adName: null, isEvergreen: true, publisher: null })).toContain(
    ',9,,,evergreen\n',
  );
});
