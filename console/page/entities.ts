import type * as z from 'zod';
import type { Ad as AdSchema } from '../api/routes/ads.ts';
import type { Advertiser as AdvertiserSchema } from '../api/routes/advertisers.ts';
import type { AuditEntry as AuditEntrySchema } from '../api/routes/audit.ts';
import type { BudgetEntry as BudgetEntrySchema } from '../api/routes/budget-entries.ts';
import type { Campaign as CampaignSchema } from '../api/routes/campaign-schemas.ts';
import type { ListedClick as ListedClickSchema } from '../api/routes/click-list.ts';
import type { SampleRun as SampleRunSchema } from '../api/routes/samples.ts';

/** Advertisers, campaigns and ads as the API has them in JSON. */
export type Advertiser = z.input<typeof AdvertiserSchema>;
export type Campaign = z.input<typeof CampaignSchema>;
export type Ad = z.input<typeof AdSchema>;
export type BudgetEntry = z.input<typeof BudgetEntrySchema>;
export type AuditEntry = z.input<typeof AuditEntrySchema>;
/** A click of a list. */
export type ListedClick = z.input<typeof ListedClickSchema>;

/** The latest run of sample clicks. */
export type SampleRun = z.input<typeof SampleRunSchema>;

export type Status = Advertiser['status'];
