import type { Advertiser } from '../../entities.ts';
import { formatCount } from '../../format.ts';
import { texts } from '../../texts.ts';
import { Button, saveText } from '../../ui/button.tsx';
import { ErrorBox, Note } from '../../ui/state.tsx';
import { type Column, Table } from '../../ui/table.tsx';
import { Amount, Progress, Stat } from '../../ui/values.tsx';
import { type CreditResult, groupRefused, type RefusedGroup, refusedCsv } from './credit-result.ts';
import type { CreditRun } from './credit-run.ts';

const words = texts.credits;

/** Ids that are shown of each reason; the CSV has all. */
const FIRST_MAX = 3;

type Props = {
  readonly run: CreditRun;
  readonly advertiser: Advertiser;
  readonly onClose: () => void;
};

/** How far a run is, and what became of the clicks. */
export function RunPanel({ run, advertiser, onClose }: Props) {
  const { state, result } = run;
  const isUnderWay = state === 'sending' || state === 'stopping';
  return (
    <div class="stack">
      {isUnderWay ? <Sending run={run} /> : <Ended run={run} />}
      <Sums run={run} currency={advertiser.currency} />
      {!isUnderWay && result.refused.length > 0 && <RefusedTable result={result} />}
      <div class="row end">
        {!isUnderWay && result.refused.length > 0 && (
          <Button onClick={() => save(result, advertiser.id)}>{words.result.csv}</Button>
        )}
        {isUnderWay && (
          <Button onClick={() => run.stop()} isBusy={state === 'stopping'}>
            {words.sending.stop}
          </Button>
        )}
        {(state === 'stopped' || state === 'failed') && (
          <Button onClick={() => void run.send()}>{words.result.continue}</Button>
        )}
        {!isUnderWay && (
          <Button look="primary" onClick={onClose}>
            {texts.controls.close}
          </Button>
        )}
      </div>
    </div>
  );
}

function Sending({ run: { state, sent, clickIds, error } }: { readonly run: CreditRun }) {
  const own = words.sending;
  const done = own.done(formatCount(sent), formatCount(clickIds.length));
  return (
    <>
      <p class="strong">{done}</p>
      <Progress share={sent / clickIds.length} label={own.meter} text={done} />
      <div role="status">
        {error === null ? (
          <p class="soft">{state === 'stopping' ? own.stopping : own.about}</p>
        ) : (
          <Note tone="warn">{own.retrying(error.message)}</Note>
        )}
      </div>
    </>
  );
}

function Ended({ run: { state, left, error, result } }: { readonly run: CreditRun }) {
  const own = words.result;
  const refused = result.refused.length;
  if (state === 'done')
    return (
      <div role="status">
        {refused === 0 ? (
          <Note tone="good">{own.done}</Note>
        ) : (
          <Note tone="warn">{own.doneRefused(refused, formatCount(refused))}</Note>
        )}
      </div>
    );
  return (
    <>
      <div role="status">
        <Note tone="warn">{(error === null ? own.stopped : own.failed)(formatCount(left))}</Note>
      </div>
      {error !== null && <ErrorBox error={error} />}
    </>
  );
}

function Sums({ run: { result, left }, currency }: { readonly run: CreditRun; readonly currency: string }) {
  const own = words.result;
  const { credited, amounts, alreadyCredited, refused } = result;
  // One, that of the advertiser; none until a click is credited.
  const sums = amounts.length > 0 ? amounts : [{ currency, amount: '0' }];
  return (
    <dl class="stats">
      <Stat
        label={own.givenBack}
        value={sums.map((sum) => <Amount key={sum.currency} value={sum.amount} currency={sum.currency} />)}
        sub={own.givenBackSub}
      />
      <Stat label={own.credited} value={formatCount(credited)} sub={own.creditedSub} />
      <Stat label={own.already} value={formatCount(alreadyCredited)} sub={own.alreadySub} />
      <Stat label={own.refused} value={formatCount(refused.length)} sub={own.refusedSub} />
      {left > 0 && <Stat label={own.left} value={formatCount(left)} />}
    </dl>
  );
}

const COLUMNS: readonly Column<RefusedGroup>[] = [
  { label: words.result.columns.reason, cell: ({ reason }) => <span class="break">{reason}</span> },
  { label: words.result.columns.clicks, isNumber: true, cell: ({ count }) => formatCount(count) },
  {
    label: words.result.columns.first,
    cell: ({ first }) => (
      <ul>
        {first.map((clickId) => (
          <li key={clickId}>
            <a class="mono break" href={`/clicks/${clickId}`} target="_blank" rel="noreferrer">
              {clickId}
            </a>
          </li>
        ))}
      </ul>
    ),
  },
];

function RefusedTable({ result }: { readonly result: CreditResult }) {
  return (
    <Table
      isStacked
      label={words.result.table}
      columns={COLUMNS}
      rows={groupRefused(result.refused, FIRST_MAX)}
      keyOf={({ reason }) => reason}
    />
  );
}

function save({ refused }: CreditResult, advertiserId: number): void {
  saveText(`tollway-advertiser-${advertiserId}-refused-credits.csv`, 'text/csv', refusedCsv(refused));
}
