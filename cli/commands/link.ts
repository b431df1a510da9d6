import { findLinkKeys } from '../../common/config/link-key-file.ts';
import { counted } from '../../common/counted.ts';
import { TollwayError } from '../../common/errors.ts';
import { parseDuration } from '../../common/parse-time.ts';
import { LIFE_DAYS, LINKS_MAX, type LinkSettings, makeLinks } from '../../contract/make-links.ts';
import { parsePublisher } from '../../contract/publisher.ts';
import { type Ad, readAd } from '../../ledger/accounts/ads.ts';
import { type CliContext, command, type Output, withDatabase } from '../context.ts';
import { parseCount, parseId } from '../parse.ts';
import { printNote } from '../print.ts';
import { createJsonWriter, writeText } from '../row-writer.ts';
import { withName } from '../with-name.ts';

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
  .action(async (adId: number, { format, count, evergreen, expires, publisher }: Options) => {
    await withDatabase(async (pool, context) => {
      const settings = linkSettings(context);
      const request = {
        adId,
        ...(evergreen === undefined ? {} : { evergreen }),
        ...(expires === undefined ? {} : { lifeMs: expires }),
        ...(publisher === undefined ? {} : { publisher }),
      };
      const ad = await readAd(pool, adId);
      const json = createJsonWriter();
      for (let left = count; left > 0; left -= LINKS_MAX) {
        const links = makeLinks(settings, { ...request, count: Math.min(left, LINKS_MAX) });
        await (format === 'json' ? json.write(links) : writeText(`${links.join('\n')}\n`));
      }
      if (format === 'json') return json.finish();
      printNote(`${counted(count, 'link')} to ${describe(ad)}`);
    });
  });

/** Whose ad it is: the id of another one is easily typed. */
function describe({ id, name, campaignId, campaignName, advertiserId, advertiserName }: Ad): string {
  const campaign = withName(campaignId, campaignName);
  return `ad ${withName(id, name)}, campaign ${campaign}, advertiser ${withName(advertiserId, advertiserName)}`;
}

/** Throws `no_signing_key` if neither the settings nor the data folder have keys. */
function linkSettings({ config, stack }: CliContext): LinkSettings {
  const keys = findLinkKeys(config);
  if (keys !== null) return { keys, publicUrl: stack.adServerUrl, lifeMaxDays: config.LINK_LIFE_MAX_DAYS };
  throw new TollwayError(
    'no_signing_key',
    `LINK_KEYS: expected the keys of the links, got none, and ${stack.dataDir} has none`,
  );
}
