import type { FunctionComponent } from 'preact';
import { type Rule, session } from './session.ts';
import { texts } from './texts.ts';
import { AdvertisersView } from './views/advertisers/advertisers-view.tsx';
import { AdView } from './views/campaigns/ad-view.tsx';
import { CampaignView } from './views/campaigns/campaign-view.tsx';
import { ClicksView } from './views/clicks/clicks-view.tsx';
import { LiveView } from './views/live/live-view.tsx';
import { OperationsView } from './views/operations/operations-view.tsx';
import { ReportsView } from './views/reports/reports-view.tsx';
import { StatementsView } from './views/statements/statements-view.tsx';
import { TryView } from './views/try/try-view.tsx';
import type { ViewProps } from './views/view-props.ts';

export type View = {
  /** First segment of its path; empty for the start page. */
  readonly name: string;
  readonly label: string;
  /** The rule of the API that the view needs. */
  readonly rule?: Rule;
  /** Whether the navigation shows it; by default if the caller may see it. */
  readonly isInNavigation: () => boolean;
  readonly Content: FunctionComponent<ViewProps>;
};

const always = () => true;
const never = () => false;

const { navigation } = texts;

/** The views by the first segment of their paths; `serve-page.ts` serves these paths. */
export const views: readonly View[] = [
  { name: '', label: navigation.live, isInNavigation: always, Content: LiveView },
  {
    ...{ name: 'advertisers', label: navigation.advertisers, rule: 'advertisers.read' },
    ...{ isInNavigation: always, Content: AdvertisersView },
  },
  {
    name: 'campaigns',
    label: navigation.campaigns,
    rule: 'campaigns.read',
    isInNavigation: never,
    Content: CampaignView,
  },
  { name: 'ads', label: navigation.ads, rule: 'ads.read', isInNavigation: never, Content: AdView },
  {
    name: 'reports',
    label: navigation.reports,
    rule: 'reports.read',
    isInNavigation: always,
    Content: ReportsView,
  },
  {
    ...{ name: 'statements', label: navigation.statements, rule: 'statements.read' },
    ...{ isInNavigation: always, Content: StatementsView },
  },
  {
    name: 'clicks',
    label: navigation.clicks,
    rule: 'clicks.read',
    isInNavigation: always,
    Content: ClicksView,
  },
  {
    ...{ name: 'operations', label: navigation.operations, isInNavigation: always, Content: OperationsView },
  },
  {
    ...{ name: 'try', label: navigation.try, rule: 'samples.run', Content: TryView },
    isInNavigation: () => session.value?.hasSamples ?? false,
  },
];

export const findView = ([name = '']: readonly string[]): View | undefined =>
  views.find((view) => view.name === name);
