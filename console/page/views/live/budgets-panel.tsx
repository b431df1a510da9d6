import { byExhaustion, toneOf } from '../../budget-state.ts';
import { formatDuration, formatTime } from '../../format.ts';
import { type Budget, budgets, heardAt } from '../../live.ts';
import { can } from '../../session.ts';
import { texts } from '../../texts.ts';
import { LinkButton } from '../../ui/button.tsx';
import { clock } from '../../ui/clock.ts';
import { Panel } from '../../ui/page.tsx';
import { Empty } from '../../ui/state.tsx';
import { type Column, Table } from '../../ui/table.tsx';
import { Amount, Meter, StatusTag } from '../../ui/values.tsx';

/** Budgets that the panel shows. */
const SHOWN_MAX = 12;
/** Time of exhaustion that is shown at most, in ms. */
const FAR_MS = 30 * 86_400_000;

const words = texts.live.budgets;

/** The budgets, as bars that fall: what is left, and when it runs dry. */
export function BudgetsPanel() {
  const all = [...budgets.value.values()];
  const shown = all.sort(byExhaustion).slice(0, SHOWN_MAX);
  return (
    <Panel
      title={words.title}
      note={words.note}
      span={8}
      flush
      actions={
        <LinkButton href="/advertisers" look="plain" isSmall>
          {words.all}
        </LinkButton>
      }
    >
      {heardAt.value === null ? (
        <Empty title={texts.controls.loading} />
      ) : shown.length === 0 ? (
        <Empty
          title={words.empty}
          actions={can('advertisers.create') && <LinkButton href="/advertisers">{words.all}</LinkButton>}
        >
          {words.emptyLead}
        </Empty>
      ) : (
        <Table label={words.title} columns={COLUMNS} rows={shown} keyOf={(budget) => budget.advertiserId} />
      )}
    </Panel>
  );
}

/** Share of the budget that is left, 0–1; for the length of a bar only. */
export function shareLeft({ budget, remaining }: Pick<Budget, 'budget' | 'remaining'>): number {
  const total = Number(budget);
  return total > 0 ? Number(remaining) / total : 0;
}

/** When a budget runs dry, in words. */
export function RunsDry({ budget }: { readonly budget: Budget }) {
  const { exhaustedAt, perHour } = budget;
  if (toneOf(budget) === 'empty') return <span class="tag bad">{words.exhausted}</span>;
  if (exhaustedAt === null || perHour === null) return <span class="soft">{words.notSpending}</span>;
  const leftMs = Date.parse(exhaustedAt) - clock.value;
  if (leftMs > FAR_MS) return <span class="soft">{words.later}</span>;
  const isSoon = leftMs < 3_600_000;
  return (
    <time
      dateTime={exhaustedAt}
      title={`${formatTime(exhaustedAt)}. ${words.atThisRate}`}
      class={isSoon ? 'strong' : ''}
    >
      {leftMs <= 0 ? texts.units.now : texts.units.in(formatDuration(leftMs / 1_000))}
    </time>
  );
}

function Share({ budget }: { readonly budget: Budget }) {
  return (
    <div class="budget-bar">
      <Meter share={shareLeft(budget)} label={words.shareOf(budget.name)} tone={toneOf(budget)} />
    </div>
  );
}

const COLUMNS: readonly Column<Budget>[] = [
  {
    label: words.advertiser,
    cell: (budget) => (
      <>
        <span class="row">
          <a href={`/advertisers/${budget.advertiserId}`} class="break">
            {budget.name}
          </a>
          {budget.status !== 'active' && <StatusTag status={budget.status} />}
        </span>
        <div class="only-phone">
          <Share budget={budget} />
        </div>
      </>
    ),
  },
  {
    label: words.share,
    isMinor: true,
    cell: (budget) => <Share budget={budget} />,
  },
  {
    label: words.left,
    isNumber: true,
    cell: ({ remaining, currency }) => <Amount value={remaining} currency={currency} />,
  },
  {
    label: words.perHour,
    isNumber: true,
    isMinor: true,
    cell: ({ perHour, currency }) =>
      perHour === null ? '–' : <Amount isEstimate value={perHour} currency={currency} />,
  },
  { label: words.dry, isNumber: true, cell: (budget) => <RunsDry budget={budget} /> },
];
