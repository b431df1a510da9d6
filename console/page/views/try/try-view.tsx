import { budgets } from '../../live.ts';
import { session } from '../../session.ts';
import { texts } from '../../texts.ts';
import { Page } from '../../ui/page.tsx';
import { Empty } from '../../ui/state.tsx';
import { BudgetsPanel } from '../live/budgets-panel.tsx';
import { ClicksPanel } from '../live/clicks-panel.tsx';
import { FlowPanel } from '../live/flow-panel.tsx';
import { RunPanel } from './run-panel.tsx';
import { TopUpPanel } from './top-up-panel.tsx';

const words = texts.try;
/** Seconds that the chart shows: a run of a quarter of a minute must not be a thin line. */
const WINDOW_SECONDS = 120;

/** Sends sample clicks, and shows beside them what they do. */
export function TryView() {
  if (!session.value?.hasSamples) {
    return (
      <Page title={words.none}>
        <Empty title={words.none}>{words.noneLead}</Empty>
      </Page>
    );
  }
  return (
    <Page title={texts.navigation.try} lead={words.lead}>
      <div class="grid">
        <div class="span-4 stack">
          <RunPanel />
          <TopUpPanel />
          <FlowPanel />
        </div>
        <div class="span-8 stack">
          <ClicksPanel windowSeconds={WINDOW_SECONDS} />
          {budgets.value.size > 0 && <BudgetsPanel />}
        </div>
      </div>
    </Page>
  );
}
