import type { ProcessMetrics } from '../common/telemetry/metrics.ts';
import type { CampaignCaps } from '../ledger/accounts/campaign-caps.ts';

/** Sets the metrics of campaigns in place of those of the latest read. */
export function setCampaigns(metrics: ProcessMetrics, campaigns: readonly CampaignCaps[]): void {
  removeCampaigns(metrics);
  for (const {
    campaignId: campaign,
    advertiserId: advertiser,
    currency,
    name,
    status,
    ...caps
  } of campaigns) {
    metrics.campaignInfo.set({ campaign, advertiser, name, status }, 1);
    for (const period of ['total', 'day'] as const) {
      const cap = caps[period];
      if (cap === null) continue;
      metrics.campaignCap.set({ campaign, advertiser, currency, period }, cap.amount);
      metrics.campaignCapSpent.set({ campaign, advertiser, currency, period }, cap.spent);
    }
    if (caps.pace === null) continue;
    metrics.campaignPlanned.set({ campaign, advertiser }, caps.pace.planned);
    metrics.campaignSpent.set({ campaign, advertiser }, caps.pace.spent);
    metrics.campaignAhead.set({ campaign, advertiser }, caps.pace.isAhead ? 1 : 0);
  }
}

/** Removes all metrics of campaigns. */
export function removeCampaigns(metrics: ProcessMetrics): void {
  const { campaignInfo, campaignCap, campaignCapSpent, campaignPlanned, campaignSpent, campaignAhead } =
    metrics;
  for (const metric of [
    campaignInfo,
    campaignCap,
    campaignCapSpent,
    campaignPlanned,
    campaignSpent,
    campaignAhead,
  ])
    metric.reset();
}
