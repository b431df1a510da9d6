import type { ViewProps } from '../view-props.ts';
import { AdList } from './ad-list.tsx';
import { AdPage } from './ad-page.tsx';

/** The list of the ads, or one of them. */
export function AdView({ segments: [id] }: ViewProps) {
  return id === undefined ? <AdList /> : <AdPage id={id} />;
}
