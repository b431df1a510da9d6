import type { Attempts } from '../../api.ts';
import { can } from '../../session.ts';
import { texts } from '../../texts.ts';
import { Form } from '../../ui/form.tsx';
import { Panel } from '../../ui/page.tsx';
import { notify } from '../../ui/toast.tsx';
import { sampleBudgets } from './sample-budgets.ts';
import { topUpSamples } from './top-up-samples.ts';

const words = texts.try;

/** Tops the samples up, so that the next run is charged again. Shown while one of them is exhausted. */
export function TopUpPanel() {
  const samples = sampleBudgets();
  if (!can('budgets.write') || !samples.some(({ exhausted }) => exhausted)) return null;
  const topUp = async (attempts: Attempts) => {
    const added = await topUpSamples(samples, attempts);
    notify(words.toppedUp(added.join(', ')));
  };
  return (
    <Panel title={words.topUpTitle}>
      <Form onSubmit={topUp} submit={words.topUp}>
        <p class="soft">{words.topUpLead}</p>
      </Form>
    </Panel>
  );
}
