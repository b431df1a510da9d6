import { sleep } from '../../../common/process.ts';
import type { Drill, World } from '../drill.ts';
import { untilTrue } from '../until-true.ts';

const SEEN_MS_MAX = 20_000;
/** Time between two clicks that spend a budget, in ms. */
const CLICK_MS = 250;

/** Waits until Prometheus has the budget of an advertiser: the alerts look at changes. */
async function untilSeen({ prometheus }: World, advertiserId: number): Promise<void> {
  const series = `tollway_advertiser_budget_spent{advertiser="${advertiserId}"}`;
  await untilTrue(
    `${series} in Prometheus`,
    async () => (await prometheus.query(series)).length > 0,
    SEEN_MS_MAX,
  );
}

/** Drills that spend budgets. */
export const budgetDrills: readonly Drill[] = [
  {
    cause: '96 % of a budget are spent',
    alerts: { TollwayBudgetNearlyGone: [] },
    isGentle: true,
    begin: async (world) => {
      const { advertiserId, adId } = await world.addAd('Drill: nearly gone', {
        budget: '10.00',
        price: '0.24',
      });
      await untilSeen(world, advertiserId);
      await world.click(adId, 40);
      return () => world.topUp(advertiserId, '1000.00');
    },
  },
  {
    cause: 'a budget is spent at a rate that ends it within minutes',
    alerts: { TollwayBudgetExhaustedSoon: [] },
    isGentle: true,
    begin: async (world) => {
      const { advertiserId, adId } = await world.addAd('Drill: exhausted soon', {
        budget: '200.00',
        price: '0.25',
      });
      const stopping = new AbortController();
      const clicks = (async () => {
        for (; !stopping.signal.aborted; await sleep(CLICK_MS, stopping.signal)) await world.click(adId, 1);
      })();
      return async () => {
        stopping.abort();
        await clicks;
        await world.topUp(advertiserId, '1000000.00');
      };
    },
  },
  {
    cause: 'clicks arrive while no processor charges, beyond the budget',
    alerts: { TollwayOverDelivery: [] },
    isGentle: false,
    begin: async (world) => {
      const { advertiserId, adId } = await world.addAd('Drill: over-delivery', {
        budget: '5.00',
        price: '1.00',
      });
      await untilSeen(world, advertiserId);
      const pid = world.pidOf('processor');
      process.kill(pid, 'SIGSTOP');
      await world.click(adId, 40);
      await sleep(500);
      process.kill(pid, 'SIGCONT');
      return () => undefined;
    },
  },
];
