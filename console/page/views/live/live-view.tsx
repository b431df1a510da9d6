import { connection, refusal } from '../../live.ts';
import { can, isUnrestricted } from '../../session.ts';
import { texts } from '../../texts.ts';
import { Page } from '../../ui/page.tsx';
import { Note } from '../../ui/state.tsx';
import { BooksPanel } from './books-panel.tsx';
import { BudgetsPanel } from './budgets-panel.tsx';
import { ClicksPanel } from './clicks-panel.tsx';
import { DailyCapsPanel } from './daily-caps-panel.tsx';
import { FlowPanel } from './flow-panel.tsx';
import { LatestPanel } from './latest-panel.tsx';
import { ProblemsPanel } from './problems-panel.tsx';
import { ReasonsPanel } from './reasons-panel.tsx';
import { TopAdsPanel, TopPublishersPanel } from './top-panels.tsx';

/** What happens now. Who is restricted to advertisers sees theirs, and not the parts of the installation. */
export function LiveView() {
  const seesAll = isUnrestricted.value;
  return (
    <Page title={texts.live.title} lead={texts.live.lead}>
      <div class="grid">
        <RefusedNote />
        {seesAll && <ProblemsPanel />}
        <ClicksPanel span={seesAll ? 8 : undefined} />
        {seesAll && (
          <div class="stack span-4">
            <FlowPanel />
            <BooksPanel />
          </div>
        )}
        <BudgetsPanel />
        <ReasonsPanel />
        {can('campaigns.read') && <DailyCapsPanel />}
        <TopAdsPanel />
        <TopPublishersPanel />
        <LatestPanel />
      </div>
    </Page>
  );
}

/** Why there are no live numbers, although the console answers. */
function RefusedNote() {
  if (connection.value !== 'refused' || refusal.value === null) return null;
  const { code, message } = refusal.value;
  return <Note tone="bad">{texts.live.refused(message, code === 'busy')}</Note>;
}
