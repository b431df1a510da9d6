import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { fieldError } from '../../api.ts';
import type { Advertiser } from '../../entities.ts';
import { formatCount } from '../../format.ts';
import { texts } from '../../texts.ts';
import { Dialog } from '../../ui/dialog.tsx';
import { Form } from '../../ui/form.tsx';
import { AreaField, FileField } from '../../ui/list-fields.tsx';
import { Note } from '../../ui/state.tsx';
import { useDraft } from '../../ui/use-draft.ts';
import { Stat } from '../../ui/values.tsx';
import { CreditRun } from './credit-run.ts';
import { type ClickList, readClickList } from './read-click-list.ts';
import { RunPanel } from './run-panel.tsx';

const words = texts.credits;

type Draft = { readonly file: File | null; readonly pasted: string };

type Props = {
  readonly advertiser: Advertiser;
  /** The list, if it was made before. */
  readonly given?: ClickList;
  readonly onDone: () => void;
  readonly onClose: () => void;
};

/** Credits many clicks of an advertiser: takes a list, asks, sends, and says what became of each. */
export function CreditClicks({ advertiser, given, onDone, onClose }: Props) {
  const { id, name } = advertiser;
  const [draft, set] = useDraft<Draft>({ file: null, pasted: '' });
  const [list, setList] = useState<ClickList | null>(given ?? null);
  const { run, send } = useRun(onDone);
  const start = async () => {
    if (list !== null) send(id, list.clickIds);
  };
  const isUnderWay = run?.state === 'sending' || run?.state === 'stopping';
  return (
    <Dialog title={words.title(name)} isWide onClose={isUnderWay ? () => run.stop() : onClose}>
      {list === null && <ListForm {...{ draft, set, onClose }} onRead={setList} />}
      {list !== null && run === null && (
        <Step>
          <Form
            onSubmit={start}
            submit={words.confirm.submit(list.clickIds.length, formatCount(list.clickIds.length))}
            onCancel={given === undefined ? () => setList(null) : onClose}
            cancel={given === undefined ? words.confirm.back : texts.controls.cancel}
          >
            <Question {...{ list, name }} />
          </Form>
        </Step>
      )}
      {run !== null && (
        <Step key={String(isUnderWay)}>
          <RunPanel {...{ run, advertiser, onClose }} />
        </Step>
      )}
    </Dialog>
  );
}

/** The run of a list, if it was started. Calls `onDone` each time that it has ended or stopped. A run stops with its dialog. */
function useRun(onDone: () => void) {
  const [run, setRun] = useState<CreditRun | null>(null);
  const [, redraw] = useState(0);
  const state = run?.state;
  useEffect(() => () => run?.stop(), [run]);
  useEffect(() => {
    if (state === 'done' || state === 'stopped' || state === 'failed') return onDone();
    if (state === undefined) return undefined;
    const warn = (event: Event) => event.preventDefault();
    window.addEventListener('beforeunload', warn);
    return () => window.removeEventListener('beforeunload', warn);
  }, [state]);
  const send = (advertiserId: number, clickIds: readonly string[]) => {
    const made = new CreditRun(advertiserId, clickIds, () => redraw((count) => count + 1));
    setRun(made);
    void made.send();
  };
  return { run, send };
}

/** A step of the dialog, which gets the focus: what had it before is gone. */
function Step({ children }: { readonly children: preact.ComponentChildren }) {
  const element = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => element.current?.focus(), []);
  return (
    <div ref={element} class="step" tabIndex={-1}>
      {children}
    </div>
  );
}

type ListProps = {
  readonly draft: Draft;
  readonly set: (changes: Partial<Draft>) => void;
  readonly onRead: (list: ClickList) => void;
  readonly onClose: () => void;
};

/** Takes a list, and reads all of it before anything is sent. */
function ListForm({ draft: { file, pasted }, set, onRead, onClose }: ListProps) {
  const submit = async () => {
    if (file !== null) return onRead(await readClickList(file, 'file'));
    if (pasted.trim() === '') throw fieldError('pasted', words.list.none);
    onRead(await readClickList(new Blob([pasted]), 'pasted'));
  };
  return (
    <Form onSubmit={submit} submit={words.list.submit} onCancel={onClose}>
      <p class="soft">{words.about}</p>
      <FileField
        {...{ label: words.list.file, name: 'file', hint: words.list.fileHint, file }}
        remove={words.list.removeFile}
        onChange={(file) => set({ file })}
      />
      <AreaField
        {...{ label: words.list.pasted, name: 'pasted', value: pasted, disabled: file !== null }}
        hint={file === null ? words.list.pastedHint : words.list.pastedOff}
        onChange={(pasted) => set({ pasted })}
      />
    </Form>
  );
}

/** What is about to be credited. */
function Question({ list, name }: { readonly list: ClickList; readonly name: string }) {
  const { clickIds, passedOver, repeated } = list;
  const own = words.confirm;
  return (
    <>
      <Note>
        <p class="strong">{own.question(clickIds.length, formatCount(clickIds.length), name)}</p>
        <p>{own.rules}</p>
      </Note>
      <dl class="stats">
        <Stat label={own.clicks} value={formatCount(clickIds.length)} />
        {passedOver > 0 && (
          <Stat label={own.passedOver} value={formatCount(passedOver)} sub={own.passedOverSub} />
        )}
        {repeated > 0 && <Stat label={own.repeated} value={formatCount(repeated)} sub={own.repeatedSub} />}
      </dl>
    </>
  );
}
