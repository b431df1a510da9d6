import { useState } from 'preact/hooks';
import type * as z from 'zod';
import type { Attempt, Delivery } from '../../../api/routes/webhook-deliveries.ts';
import type { WebhookWithSecret } from '../../../api/routes/webhooks.ts';
import { type Attempts, patch, post, request } from '../../api.ts';
import { formatCount } from '../../format.ts';
import { usePages, useResource } from '../../resource.ts';
import { texts } from '../../texts.ts';
import { Button } from '../../ui/button.tsx';
import { Confirm, Dialog } from '../../ui/dialog.tsx';
import { Panel } from '../../ui/page.tsx';
import { Empty, Loaded } from '../../ui/state.tsx';
import { type Column, ListTable, Table } from '../../ui/table.tsx';
import { notify } from '../../ui/toast.tsx';
import { Ago, Time } from '../../ui/values.tsx';
import { EventName, nameOfEvent } from './event-name.tsx';
import { EventSubject } from './event-subject.tsx';
import { SecretShown } from './secret-shown.tsx';
import type { WebhookData } from './webhook-data.ts';

const words = texts.operations.webhooks;
/** Time between two looks at the deliveries, in ms. */
const LOOK_MS = 3_000;

type DeliveryData = z.input<typeof Delivery>;
type Props = { readonly webhook: WebhookData; readonly reload: () => void };

/** One webhook: what can be done with it, and what became of its events. */
export function WebhookPanel({ webhook, reload }: Props) {
  const path = `/v1/webhooks/${webhook.id}`;
  const deliveries = usePages<DeliveryData>(`${path}/deliveries`, {}, LOOK_MS);
  const [shown, setShown] = useState<DeliveryData | null>(null);
  const replay = async (eventId: string) => {
    await post(`${path}/deliveries/${eventId}/replay`, {});
    notify(words.replayed);
    deliveries.reload();
  };
  const columns: Column<DeliveryData>[] = [
    { label: words.occurred, cell: ({ occurredAt }) => <Ago at={occurredAt} /> },
    { label: words.event, cell: ({ eventType }) => <EventName type={eventType} /> },
    {
      label: texts.operations.webhookEvents.about,
      cell: ({ advertiserId, advertiserName, data }) => (
        <EventSubject {...{ advertiserId, data }} name={advertiserName} />
      ),
    },
    {
      label: words.status,
      cell: ({ status }) => (
        <span class={`tag ${TONES[status] ?? ''}`}>{words.statuses[status] ?? status}</span>
      ),
    },
    {
      label: words.attempts,
      isNumber: true,
      cell: (delivery) => (
        <Button look="plain" isSmall onClick={() => setShown(delivery)}>
          {formatCount(delivery.attempts)}
        </Button>
      ),
    },
    {
      label: '',
      isNumber: true,
      cell: ({ eventId }) => (
        <Button isSmall onClick={() => void replay(eventId).catch((error: Error) => notify(error.message))}>
          {words.replay}
        </Button>
      ),
    },
  ];
  return (
    <Panel
      title={`${words.deliveries}: ${webhook.url}`}
      flush
      actions={<Actions webhook={webhook} reload={reload} reloadDeliveries={deliveries.reload} />}
    >
      <ListTable
        isStacked
        label={words.deliveries}
        columns={columns}
        pages={deliveries}
        keyOf={({ eventId }) => eventId}
        empty={<Empty title={words.noDeliveries} />}
      />
      {shown && <AttemptsDialog path={path} delivery={shown} onClose={() => setShown(null)} />}
    </Panel>
  );
}

const TONES: Readonly<Record<string, string>> = { delivered: 'good', failed: 'bad', pending: 'warn' };

type Chosen = 'rotate' | 'archive' | null;

function Actions({ webhook, reload, reloadDeliveries }: Props & { readonly reloadDeliveries: () => void }) {
  const path = `/v1/webhooks/${webhook.id}`;
  const [chosen, setChosen] = useState<Chosen>(null);
  const [secret, setSecret] = useState<string | null>(null);
  const close = () => setChosen(null);
  const act = (work: () => Promise<unknown>, done: string) => () =>
    void work().then(
      () => {
        notify(done);
        reload();
        reloadDeliveries();
      },
      (error: Error) => notify(error.message),
    );
  const rotate = async (attempts: Attempts) =>
    setSecret((await post<z.input<typeof WebhookWithSecret>>(`${path}/rotate-secret`, {}, attempts)).secret);
  const archive = async () => {
    await request('DELETE', path);
    reload();
  };
  const isActive = webhook.status === 'active';
  const status = isActive ? 'paused' : 'active';
  return (
    <>
      {isActive && (
        <Button isSmall onClick={act(() => post(`${path}/test`, {}), words.tested)}>
          {words.test}
        </Button>
      )}
      <Button isSmall onClick={act(() => patch(path, { status }, null), texts.status[status] ?? status)}>
        {isActive ? words.pause : words.resume}
      </Button>
      <Button isSmall onClick={() => setChosen('rotate')}>
        {words.rotate}
      </Button>
      {webhook.status !== 'archived' && (
        <Button isSmall look="danger" onClick={() => setChosen('archive')}>
          {words.archive}
        </Button>
      )}
      {chosen === 'rotate' && (
        <Confirm title={words.rotate} action={words.rotate} onConfirm={rotate} onClose={close}>
          <p>{words.rotateLead}</p>
        </Confirm>
      )}
      {chosen === 'archive' && (
        <Confirm title={words.archive} action={words.archive} onConfirm={archive} onClose={close} isDangerous>
          <p>{words.archiveLead}</p>
        </Confirm>
      )}
      {secret !== null && (
        <Dialog title={words.secret} onClose={() => setSecret(null)}>
          <SecretShown
            label={words.secret}
            lead={words.secretLead}
            secret={secret}
            onClose={() => setSecret(null)}
          />
        </Dialog>
      )}
    </>
  );
}

const ATTEMPTS: readonly Column<z.input<typeof Attempt>>[] = [
  { label: words.at, cell: ({ at }) => <Time at={at} /> },
  { label: words.took, isNumber: true, cell: ({ durationMs }) => `${formatCount(durationMs)} ms` },
  {
    label: words.answer,
    cell: ({ statusCode, error }) => (
      <>
        {statusCode ?? words.noAnswer}
        {error !== null && <span class="sub">{error}</span>}
      </>
    ),
  },
];

type AttemptsProps = { readonly path: string; readonly delivery: DeliveryData; readonly onClose: () => void };

function AttemptsDialog({ path, delivery: { eventId, eventType }, onClose }: AttemptsProps) {
  const attempts = useResource<{ items: readonly z.input<typeof Attempt>[] }>(
    `${path}/deliveries/${eventId}/attempts`,
    {},
    LOOK_MS,
  );
  return (
    <Dialog title={`${words.attempts}: ${nameOfEvent(eventType)}`} onClose={onClose} isWide>
      <Loaded resource={attempts}>
        {({ items }) =>
          items.length === 0 ? (
            <Empty title={words.noAttempts} />
          ) : (
            <Table label={words.attempts} columns={ATTEMPTS} rows={items} keyOf={(_, index) => index} />
          )
        }
      </Loaded>
    </Dialog>
  );
}
