import { TollwayError } from '../../common/errors.ts';
import { createSigner, evergreenLink, impressionLink } from '../../contract/link-token.ts';
import { parsePublisher } from '../../contract/publisher.ts';
import { readAd } from '../../ledger/ads.ts';
import { command, type Output, withDatabase } from '../context.ts';
import { findLinkKeys } from '../link-key-file.ts';
import { parseCount, parseDuration, parseId } from '../parse.ts';
import { printJson } from '../print.ts';

const DAY_MS = 86_400_000;
/** Life of an impression link without `--expires`. */
const LIFE_DAYS = 30;

type Options = Output & {
  count: number;
  evergreen?: boolean;
  expires?: number;
  publisher?: string | null;
};

export const link = command('link', 'Print signed links to an ad, one URL on a line', [
  'link 1',
  'link 1 --count 1000 --expires 7d > links.txt',
  'link 1 --evergreen --publisher example-news',
])
  .argument('<ad>', 'id of the ad', parseId)
  .option('--count <n>', 'number of links', parseCount, 1)
  .option(
    '--evergreen',
    'a link for print, QR codes and newsletters: it is valid for any number of clicks and never expires',
  )
  .option(
    '--expires <duration>',
    `life of an impression link, such as 12h or 7d (default ${LIFE_DAYS}d, or LINK_LIFE_MAX_DAYS if that is shorter)`,
    parseDuration,
  )
  .option(
    '--publisher <name>',
    'site or partner that shows the link: 1–32 letters, digits, - and _',
    parsePublisher,
  )
  .action(async (adId: number, { format, count, evergreen, expires, publisher = null }: Options) => {
    await withDatabase(async (pool, { config, stack }) => {
      const lifeMaxMs = config.LINK_LIFE_MAX_DAYS * DAY_MS;
      const lifeMs = expires ?? Math.min(LIFE_DAYS * DAY_MS, lifeMaxMs);
      if (evergreen && expires !== undefined) {
        throw new TollwayError(
          'bad_options',
          'Expected --evergreen or --expires, got both: an evergreen link never expires',
        );
      }
      if (lifeMs > lifeMaxMs) {
        const message = `Expected a life of at most ${config.LINK_LIFE_MAX_DAYS}d (LINK_LIFE_MAX_DAYS), got ${lifeMs / DAY_MS}d`;
        throw new TollwayError('bad_duration', message);
      }
      const keys = findLinkKeys(config);
      if (keys === null) {
        throw new TollwayError(
          'no_signing_key',
          `LINK_KEYS: expected the keys of the links, got none, and ${stack.dataDir} has none`,
        );
      }
      await readAd(pool, adId);
      const sign = createSigner(keys);
      const make = () => {
        const made = evergreen ? evergreenLink(adId, publisher) : impressionLink(adId, lifeMs, publisher);
        return `${stack.adServerUrl}/c/${sign(made)}`;
      };
      if (format === 'json') return printJson(Array.from({ length: count }, make));
      for (let made = 0; made < count; made += 1) process.stdout.write(`${make()}\n`);
    });
  });
