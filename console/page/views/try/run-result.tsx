import { useEffect, useState } from 'preact/hooks';
import type * as z from 'zod';
import type { Reconciliation } from '../../../api/routes/reconciliation.ts';
import type { SampleRun } from '../../entities.ts';
import { formatCount } from '../../format.ts';
import { OUTCOMES, settledSince } from '../../live.ts';
import { useResource } from '../../resource.ts';
import { can } from '../../session.ts';
import { texts } from '../../texts.ts';
import { Note } from '../../ui/state.tsx';
import { Outcome } from '../../ui/values.tsx';
import { booksTitle } from '../books-title.ts';
import { sampleBudgets } from './sample-budgets.ts';

const words = texts.try;
/** Time after a run in which its last clicks are settled, in ms. */
const SETTLE_MS = 1_500;

/** What a run did: what was sent, what became of it, which budgets it exhausted, and whether the books balance. */
export function RunResult({ run }: { readonly run: SampleRun }) {
  const exhausted = sampleBudgets().filter((budget) => budget.exhausted);
  const names = exhausted.map(({ name }) => name).join(', ');
  return (
    <section class="stack" role="status" aria-label={words.done}>
      <h3>{words.done}</h3>
      <p>{run.summary}</p>
      <Outcomes startedAt={run.startedAt} />
      {exhausted.length > 0 && <p>{words.exhausted(names)}</p>}
      <Books />
      {can('webhooks.manage') && (
        <p class="soft">
          {words.webhooks} <a href="/operations/webhooks">{words.webhooksLink}</a>
        </p>
      )}
    </section>
  );
}

/** The outcomes of the clicks since the run began. A page that was opened later, or hidden for a while, does not know them all and says nothing. */
function Outcomes({ startedAt }: { readonly startedAt: string | null }) {
  const from = startedAt === null ? Number.POSITIVE_INFINITY : Date.parse(startedAt) / 1_000;
  const counts = settledSince(from);
  if (counts === null || counts.every((count) => count === 0)) return null;
  return (
    <ul class="legend">
      {OUTCOMES.map((outcome, index) => (
        <li key={outcome}>
          <Outcome outcome={outcome} /> <span class="strong">{formatCount(counts[index] ?? 0)}</span>
        </li>
      ))}
    </ul>
  );
}

/** Reconciles once, as soon as the last clicks have had the time to be settled. */
function Books() {
  const [isDue, setDue] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => setDue(true), SETTLE_MS);
    return () => clearTimeout(timer);
  }, []);
  const path = isDue && can('reconciliation.read') ? '/v1/reconciliation' : null;
  const books = useResource<z.input<typeof Reconciliation>>(path).data;
  if (books === null) return null;
  const isFine = books.balanced && books.missing === 0;
  const { accepted, charged, overBudget, invalid, rejected, problems } = books;
  const [all, ...parts] = [accepted, charged, overBudget, invalid, rejected].map(formatCount);
  return (
    <Note tone={isFine ? 'good' : 'bad'}>
      <p class="strong">
        {isFine ? words.balance : booksTitle(books.balanced, books.missing, problems.length)}
      </p>
      {problems.map((problem) => (
        <p key={problem}>{problem}</p>
      ))}
      <p class="soft">{isFine ? words.sum(all ?? '', parts) : texts.operations.reconciliation.runbook}</p>
    </Note>
  );
}
