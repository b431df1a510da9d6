import type { ViewProps } from '../view-props.ts';
import { CampaignList } from './campaign-list.tsx';
import { CampaignPage } from './campaign-page.tsx';

/** The list of the campaigns, or one of them. */
export function CampaignView({ segments: [id] }: ViewProps) {
  return id === undefined ? <CampaignList /> : <CampaignPage id={id} />;
}
