import { type Attempts, get, post } from '../../api.ts';
import type { BudgetEntry } from '../../entities.ts';
import { formatAmount } from '../../format.ts';
import type { Budget } from '../../live.ts';

/**
 * Tops each sample advertiser up by the amount of its latest top-up. Returns what was added, in words. A repeated call with the same
 * `attempts` after a lost answer adds nothing twice.
 */
export async function topUpSamples(samples: readonly Budget[], attempts: Attempts): Promise<string[]> {
  const added: string[] = [];
  for (const { advertiserId, name, currency } of samples) {
    const path = `/v1/advertisers/${advertiserId}/budget-entries`;
    const { items } = await get<{ items: readonly BudgetEntry[] }>(path, { newestFirst: true });
    const latest = items.find(({ kind }) => kind === 'top_up');
    if (latest === undefined) continue;
    // The same until it is entered, so that the API enters it once.
    const reference = `sample budget, after ${latest.id}`;
    await post(path, { kind: 'top_up', amount: latest.amount, reference }, attempts);
    added.push(`${name} ${formatAmount(latest.amount, currency)} ${currency}`);
  }
  return added;
}
