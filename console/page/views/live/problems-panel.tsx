import { connection, health, type Problem, problems } from '../../live.ts';
import { texts } from '../../texts.ts';
import { Note } from '../../ui/state.tsx';
import { Ago } from '../../ui/values.tsx';
import { silentParts } from './silent-parts.ts';

/** What is wrong right now, with the section of the runbook that says what to do. */
export function ProblemsPanel() {
  const words = texts.live.problems;
  const list = problems.value;
  const state = connection.value;
  // The view says so itself.
  if (state === 'refused') return null;
  if (list === null || state === 'connecting') return <Note>{words.waiting}</Note>;
  // What was wrong before is not known to be wrong now, and nothing is known to be right.
  if (state === 'late' || state === 'disconnected') return <Note tone="bad">{words[state]}</Note>;
  if (list.length === 0) {
    const silent = silentParts(health.value);
    return silent.length > 0 ? <Note>{words.silent(silent)}</Note> : <Note tone="good">{words.none}</Note>;
  }
  return (
    <section class="stack problems" aria-label={words.title}>
      {list.map((problem) => (
        <ProblemNote key={`${problem.code} ${problem.summary}`} problem={problem} />
      ))}
    </section>
  );
}

function ProblemNote({ problem: { severity, summary, since, runbook } }: { readonly problem: Problem }) {
  const isUrgent = severity === 'page';
  return (
    <Note tone={isUrgent ? 'bad' : 'warn'}>
      <div class="row">
        <span class={`tag ${isUrgent ? 'bad' : 'warn'}`}>{texts.live.problems[severity]}</span>
        <span class="strong">{summary}</span>
        {since !== null && (
          <span class="soft">
            <Ago at={since} />
          </span>
        )}
        <code>docs/runbook.md{runbook}</code>
      </div>
    </Note>
  );
}
