import { useEffect, useState } from 'preact/hooks';
import { type Attempts, post, request } from '../../api.ts';
import type { SampleRun } from '../../entities.ts';
import { formatCount } from '../../format.ts';
import { type Resource, useResource } from '../../resource.ts';
import { texts } from '../../texts.ts';
import { Button } from '../../ui/button.tsx';
import { CheckField, Form, TextField } from '../../ui/form.tsx';
import { Panel } from '../../ui/page.tsx';
import { ErrorBox } from '../../ui/state.tsx';
import { notify } from '../../ui/toast.tsx';
import { Meter } from '../../ui/values.tsx';
import { RunResult } from './run-result.tsx';

const words = texts.try;
/** Time between two looks at a run, in ms. */
const LOOK_MS = 1_000;
/**
 * What the form proposes: with the budgets of the samples (100, 50 and 10 USD at 0.25, 0.40 and 1.50 USD a click), they are exhausted one
 * after the other, the last one in the second half of the spike.
 */
const PROPOSAL = { rate: '200', seconds: '15' };

/** Starts a run, stops it, and says what it did. */
export function RunPanel() {
  const [isRunning, setRunning] = useState(false);
  const run = useResource<SampleRun>('/v1/samples', {}, isRunning ? LOOK_MS : undefined);
  const state = run.data?.state;
  useEffect(() => setRunning(state === 'running'), [state]);
  return (
    <Panel title={words.start}>
      <div class="stack">
        {run.error && <ErrorBox error={run.error} retry={run.reload} />}
        {run.data?.state === 'running' ? (
          <Progress run={run.data} reload={run.reload} />
        ) : (
          <Start run={run} />
        )}
        {run.data && run.data.state !== 'running' && run.data.state !== 'none' && (
          <RunResult key={run.data.runId} run={run.data} />
        )}
      </div>
    </Panel>
  );
}

function Start({ run }: { readonly run: Resource<SampleRun> }) {
  const [rate, setRate] = useState(PROPOSAL.rate);
  const [seconds, setSeconds] = useState(PROPOSAL.seconds);
  const [isSpike, setSpike] = useState(true);
  const start = async (attempts: Attempts) => {
    const body = { ratePerSecond: Number(rate), seconds: Number(seconds), spike: isSpike };
    run.replace(await post<SampleRun>('/v1/samples', body, attempts));
  };
  return (
    <Form onSubmit={start} submit={words.start}>
      <div class="pair">
        <TextField
          {...{ label: words.rate, name: 'ratePerSecond', type: 'number', unit: texts.units.perSecond }}
          value={rate}
          onChange={setRate}
        />
        <TextField
          {...{ label: words.seconds, name: 'seconds', type: 'number', unit: words.secondsUnit }}
          value={seconds}
          onChange={setSeconds}
        />
      </div>
      <CheckField label={words.spike} isChecked={isSpike} onChange={setSpike} />
    </Form>
  );
}

function Progress({ run, reload }: { readonly run: SampleRun; readonly reload: () => void }) {
  const label = words.running(formatCount(run.sent), formatCount(run.total));
  const stop = () =>
    void request('DELETE', '/v1/samples').then(reload, (error: Error) => notify(error.message));
  return (
    <>
      <p aria-hidden="true">{label}</p>
      <Meter share={run.total > 0 ? run.sent / run.total : 0} label={label} />
      <Button onClick={stop}>{words.stop}</Button>
    </>
  );
}
