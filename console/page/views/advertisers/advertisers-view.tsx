import type { ViewProps } from '../view-props.ts';
import { AdvertiserList } from './advertiser-list.tsx';
import { AdvertiserView } from './advertiser-view.tsx';

/** The list of the advertisers, or one of them. */
export function AdvertisersView({ segments: [id] }: ViewProps) {
  return id === undefined ? <AdvertiserList /> : <AdvertiserView id={id} />;
}
