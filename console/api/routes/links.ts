import * as z from 'zod';
import { defined } from '../../../common/defined.ts';
import { LINKS_MAX, type LinkSettings, makeLinks } from '../../../contract/make-links.ts';
import { readAd, unknownAd } from '../../../ledger/accounts/ads.ts';
import { assertVisible } from '../access.ts';
import type { App, Deps } from '../deps.ts';
import { answerOnce } from '../idempotency.ts';
import { Duration, Id, Publisher } from '../schemas.ts';

const LinkRequest = z
  .strictObject({
    adId: Id,
    count: z.int().min(1).max(LINKS_MAX).default(1).meta({ description: 'Number of links.' }),
    evergreen: z.boolean().default(false).meta({
      description: 'Links for print, QR codes and newsletters: every click counts, and they never expire.',
    }),
    expiresIn: Duration.optional().meta({
      description:
        'Life of impression links, such as `12h` or `7d`, at most `LINK_LIFE_MAX_DAYS`. Default: 30 days, or `LINK_LIFE_MAX_DAYS` if that is shorter.',
    }),
    publisher: Publisher.nullable().default(null).meta({
      description: 'The site or partner that shows the links. It is signed, so that it cannot be changed.',
    }),
  })
  .meta({ id: 'LinkRequest' });

const Links = z
  .strictObject({
    links: z.array(z.string()).meta({
      examples: [['https://ads.example.com/c/1.k1.1.DYmpMCzF0VXdiOJNl9SneA']],
    }),
  })
  .meta({ id: 'Links', description: 'URLs, one for each view of the ad.' });

const tags = ['Links'];

/** Adds the route that makes links. */
export function linkRoutes(app: App, { pool, config }: Deps): void {
  const settings: LinkSettings = {
    keys: config.LINK_KEYS ?? null,
    publicUrl: config.PUBLIC_URL,
    lifeMaxDays: config.LINK_LIFE_MAX_DAYS,
  };
  app.post(
    '/v1/links',
    {
      config: {
        access: 'links.create',
        errors: ['unknown_ad', 'bad_options', 'bad_duration', 'no_signing_key'],
      },
      schema: {
        ...{ tags, operationId: 'makeLinks', summary: 'Make signed links to an ad' },
        description: 'Each impression link is charged once, so use each for one view of the ad.',
        body: LinkRequest,
        response: { 200: Links },
      },
    },
    (request, reply) =>
      answerOnce(pool, request, reply, async (database) => {
        const { expiresIn, ...body } = request.body;
        const { advertiserId } = await readAd(database, body.adId);
        assertVisible(request.caller, advertiserId, () => unknownAd(body.adId));
        return { links: makeLinks(settings, defined({ ...body, lifeMs: expiresIn })) };
      }),
  );
}
