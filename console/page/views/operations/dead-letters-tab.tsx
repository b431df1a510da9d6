import { useState } from 'preact/hooks';
import type * as z from 'zod';
import type { DeadLetter, DeadLetterWithRecord } from '../../../api/routes/dead-letters.ts';
import { type Attempts, post } from '../../api.ts';
import { usePages, useResource } from '../../resource.ts';
import { can } from '../../session.ts';
import { nameOfOutcome, nameOfReason, texts } from '../../texts.ts';
import { Button } from '../../ui/button.tsx';
import { Confirm, Dialog } from '../../ui/dialog.tsx';
import { Panel } from '../../ui/page.tsx';
import { Empty, Loaded } from '../../ui/state.tsx';
import { type Column, ListTable } from '../../ui/table.tsx';
import { notify } from '../../ui/toast.tsx';
import { Ago } from '../../ui/values.tsx';

type Letter = z.input<typeof DeadLetter>;
type Action = 'look' | 'redrive' | 'discard';

const words = texts.operations.deadLetters;

/** Records that were rejected: look at them, redrive them, discard them. */
export function DeadLettersTab() {
  const letters = usePages<Letter>('/v1/dead-letters');
  const [chosen, setChosen] = useState<{ readonly letter: Letter; readonly action: Action } | null>(null);
  const close = () => setChosen(null);
  const columns: Column<Letter>[] = [
    { label: words.settled, cell: ({ settledAt }) => <Ago at={settledAt} /> },
    {
      label: words.reason,
      cell: ({ reason, detail }) => (
        <>
          <span class="outcome rejected">{nameOfReason(reason)}</span>
          <span class="sub break">{detail}</span>
        </>
      ),
    },
    { label: words.ad, isMinor: true, cell: (letter) => <AdOf letter={letter} /> },
    {
      label: words.click,
      isMinor: true,
      cell: ({ clickId }) =>
        clickId === null ? (
          '–'
        ) : (
          <a class="mono" href={`/clicks/${clickId}`}>
            {clickId}
          </a>
        ),
    },
    {
      label: '',
      isNumber: true,
      cell: (letter) => <Actions onChoose={(action) => setChosen({ letter, action })} />,
    },
  ];
  return (
    <Panel title={words.title} note={words.lead} flush>
      <ListTable
        label={words.title}
        columns={columns}
        pages={letters}
        keyOf={({ id }) => id}
        empty={<Empty title={words.empty}>{words.emptyLead}</Empty>}
      />
      {chosen?.action === 'look' && <Look id={chosen.letter.id} onClose={close} />}
      {chosen?.action === 'redrive' && (
        <Redrive id={chosen.letter.id} onClose={close} onDone={letters.reload} />
      )}
      {chosen?.action === 'discard' && (
        <Discard id={chosen.letter.id} onClose={close} onDone={letters.reload} />
      )}
    </Panel>
  );
}

/** The ad that a record names, which may not exist. */
function AdOf({ letter }: { readonly letter: Letter }) {
  const { adId, adName, advertiserId, advertiserName, reason } = letter;
  if (adId === null) return <>–</>;
  const name = texts.ads.name(adId, adName);
  return (
    <>
      {reason === 'unknown_ad' ? (
        name
      ) : (
        <a class="break" href={`/ads/${adId}`}>
          {name}
        </a>
      )}
      {advertiserId !== null && (
        <span class="sub break">{advertiserName ?? words.unknownAdvertiser(advertiserId)}</span>
      )}
    </>
  );
}

function Actions({ onChoose }: { readonly onChoose: (action: Action) => void }) {
  const isAllowed = can('dead-letters.write');
  return (
    <div class="row end">
      <Button isSmall onClick={() => onChoose('look')}>
        {words.look}
      </Button>
      {isAllowed && (
        <Button isSmall onClick={() => onChoose('redrive')}>
          {words.redrive}
        </Button>
      )}
      {isAllowed && (
        <Button isSmall onClick={() => onChoose('discard')}>
          {words.discard}
        </Button>
      )}
    </div>
  );
}

/** The bytes of a record as text; what is no UTF-8 is replaced. */
export function textOf(base64: string): string {
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  return new TextDecoder().decode(bytes);
}

function Look({ id, onClose }: { readonly id: string; readonly onClose: () => void }) {
  const letter = useResource<z.input<typeof DeadLetterWithRecord>>(`/v1/dead-letters/${id}`);
  return (
    <Dialog title={words.record} onClose={onClose} isWide>
      <Loaded resource={letter}>
        {({ raw, ...found }) => (
          <div class="stack">
            <p>{found.detail}</p>
            {found.adId !== null && (
              <div>
                <AdOf letter={found} />
              </div>
            )}
            <p class="soft">{words.recordLead}</p>
            <pre>{raw === null ? '–' : textOf(raw)}</pre>
          </div>
        )}
      </Loaded>
    </Dialog>
  );
}

type ActionProps = { readonly id: string; readonly onClose: () => void; readonly onDone: () => void };

function Redrive({ id, onClose, onDone }: ActionProps) {
  const redrive = async (attempts: Attempts) => {
    const { outcome } = await post<{ outcome: string }>(`/v1/dead-letters/${id}/redrive`, {}, attempts);
    notify(words.redriven(nameOfOutcome(outcome)));
    onDone();
  };
  return (
    <Confirm title={words.redriveTitle} action={words.redrive} onConfirm={redrive} onClose={onClose}>
      <p>{words.redriveLead}</p>
    </Confirm>
  );
}

function Discard({ id, onClose, onDone }: ActionProps) {
  const discard = async (attempts: Attempts) => {
    await post(`/v1/dead-letters/${id}/discard`, {}, attempts);
    notify(words.discarded);
    onDone();
  };
  return (
    <Confirm
      title={words.discardTitle}
      action={words.discard}
      onConfirm={discard}
      onClose={onClose}
      isDangerous
    >
      <p>{words.discardLead}</p>
    </Confirm>
  );
}
