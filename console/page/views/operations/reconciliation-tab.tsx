import { useState } from 'preact/hooks';
import type * as z from 'zod';
import type { Reconciliation } from '../../../api/routes/reconciliation.ts';
import { get } from '../../api.ts';
import { formatCount } from '../../format.ts';
import { texts } from '../../texts.ts';
import { CheckField, Form } from '../../ui/form.tsx';
import { Panel } from '../../ui/page.tsx';
import { Note } from '../../ui/state.tsx';
import { Stat } from '../../ui/values.tsx';
import { booksTitle } from '../books-title.ts';
import { BooksPanel } from '../live/books-panel.tsx';

type Result = z.input<typeof Reconciliation>;

const words = texts.operations.reconciliation;
const COUNTS = ['accepted', 'charged', 'overBudget', 'invalid', 'rejected', 'inFlight', 'missing'] as const;

/** Checks the books now. */
export function ReconciliationTab() {
  const [isDeep, setDeep] = useState(false);
  const [result, setResult] = useState<Result | null>(null);
  const check = async () => setResult(await get<Result>('/v1/reconciliation', { deep: isDeep }));
  return (
    <Panel title={words.title}>
      <div class="stack">
        <BooksPanel />
        <p class="soft">{words.lead}</p>
        <Form onSubmit={check} submit={words.run}>
          <CheckField label={words.deep} isChecked={isDeep} onChange={setDeep} />
        </Form>
        {result && <Found result={result} />}
      </div>
    </Panel>
  );
}

function Found({ result }: { readonly result: Result }) {
  const isFine = result.balanced && result.missing === 0;
  return (
    <div class="stack" role="status">
      <Note tone={isFine ? 'good' : 'bad'}>
        <p class="strong">{booksTitle(result.balanced, result.missing, result.problems.length)}</p>
        {result.problems.map((problem) => (
          <p key={problem}>{problem}</p>
        ))}
        {!isFine && <p class="soft">{words.runbook}</p>}
      </Note>
      <dl class="stats">
        {COUNTS.map((name) => (
          <Stat key={name} label={words[name]} value={formatCount(result[name])} />
        ))}
      </dl>
    </div>
  );
}
