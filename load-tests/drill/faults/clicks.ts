import { setTimeout as sleep } from 'node:timers/promises';
import { createPostgresPublisher } from '../../../brokers/postgres/publisher.ts';
import { evergreenLink } from '../../../contract/link-token.ts';
import { discardDeadLetter, listDeadLetterIds } from '../../../ledger/charge/dead-letters.ts';
import type { Drill, World } from '../drill.ts';

/** Numbers of requests above the thresholds of the alerts, which are not shortened. */
const FORGED = 200;
const UNKNOWN = 200;
const BOTS = 400;
const HIDDEN = 30;
/** An ad id that no advertiser has. */
const UNKNOWN_AD = 999_999_999;
const FORGED_PATH = `/c/1.drill.1.${'A'.repeat(22)}`;
const BOT = 'Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)';
/** What Amazon CloudFront sends instead of the user agent of the visitor. */
const CDN = 'Amazon CloudFront';

const times = (count: number, path: string) => Array.from({ length: count }, () => path);
const nothing = () => undefined;

async function discardDeadLetters({ pool }: World): Promise<void> {
  for (const id of await listDeadLetterIds(pool, 0n, 1_000)) await discardDeadLetter(pool, id);
}

/** Drills that send requests, or records that are no clicks. */
export const clickDrills: readonly Drill[] = [
  {
    cause: 'a record that is not a click is in the broker',
    alerts: { TollwayDeadLetters: [] },
    isGentle: true,
    begin: async (world) => {
      const publisher = createPostgresPublisher(world.pool);
      await publisher.publish([{ key: 'drill', value: Buffer.from('not a click') }]);
      return () => discardDeadLetters(world);
    },
  },
  {
    cause: 'a CDN replaces the user agents of visitors',
    alerts: { TollwayUserAgentsHidden: [] },
    isGentle: true,
    begin: async ({ addAd, send, sign }) => {
      const { adId } = await addAd('Drill: hidden user agents', { budget: '100.00', price: '0.01' });
      await send(times(HIDDEN, `/c/${sign(evergreenLink(adId))}`), { 'user-agent': CDN });
      return nothing;
    },
  },
  {
    cause: 'most requests have links that no key signs',
    alerts: { TollwayLinksNotFound: [] },
    isGentle: false,
    begin: async ({ send }) => {
      await send(times(FORGED, FORGED_PATH));
      return nothing;
    },
  },
  {
    cause: 'the links name an ad that is in no catalog',
    alerts: { TollwayRedirectErrors: [] },
    isGentle: false,
    begin: async ({ send, sign }) => {
      await send(times(UNKNOWN, `/c/${sign(evergreenLink(UNKNOWN_AD))}`));
      return nothing;
    },
  },
  {
    cause: 'nearly all clicks are of bots',
    alerts: { TollwayNearlyAllClicksAreBots: [] },
    isGentle: false,
    begin: async ({ addAd, send, sign }) => {
      const { adId } = await addAd('Drill: bots', { budget: '100.00', price: '0.01' });
      await send(times(BOTS, `/c/${sign(evergreenLink(adId))}`), { 'user-agent': BOT });
      return nothing;
    },
  },
  {
    cause: 'the ad server gets no CPU time for half a second, again and again',
    alerts: { TollwayRedirectSlow: [['> 0.1', '> 0.02']] },
    isGentle: false,
    begin: async ({ addAd, click, pidOf }) => {
      const { adId } = await addAd('Drill: slow redirects', { budget: '1000.00', price: '0.01' });
      const stopping = new AbortController();
      const pid = pidOf('ad-server');
      const clicks = repeat(stopping.signal, () => click(adId, 100));
      const pauses = repeat(stopping.signal, async () => {
        await sleep(20);
        process.kill(pid, 'SIGSTOP');
        await sleep(100);
        process.kill(pid, 'SIGCONT');
      });
      return async () => {
        stopping.abort();
        await Promise.all([clicks, pauses]);
      };
    },
  },
];

async function repeat(stop: AbortSignal, work: () => Promise<void>): Promise<void> {
  while (!stop.aborted) await work();
}
