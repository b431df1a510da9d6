import { useState } from 'preact/hooks';
import type * as z from 'zod';
import type { WebhookWithSecret } from '../../../api/routes/webhooks.ts';
import { type Attempts, fieldError, post } from '../../api.ts';
import { formatDuration, formatTime } from '../../format.ts';
import { type Pages, usePages, useResource } from '../../resource.ts';
import { can, session } from '../../session.ts';
import { texts } from '../../texts.ts';
import { type AdvertiserChoice, AdvertiserPicker } from '../../ui/advertiser-picker.tsx';
import { Button } from '../../ui/button.tsx';
import { useAdvertiser } from '../../ui/chosen-advertiser.tsx';
import { clock } from '../../ui/clock.ts';
import { Dialog, useDialog } from '../../ui/dialog.tsx';
import { CheckField, Form, TextField } from '../../ui/form.tsx';
import { Panel } from '../../ui/page.tsx';
import { Empty } from '../../ui/state.tsx';
import { type Column, ListTable } from '../../ui/table.tsx';
import { StatusTag, Time } from '../../ui/values.tsx';
import { nameOfEvent } from './event-name.tsx';
import type { OperationsData } from './parts-tab.tsx';
import { SecretShown } from './secret-shown.tsx';
import type { WebhookData } from './webhook-data.ts';
import { WebhookEventsPanel } from './webhook-events-panel.tsx';
import { WebhookPanel } from './webhook-panel.tsx';

const words = texts.operations.webhooks;

/** The webhooks, and the deliveries of the chosen one. */
export function WebhooksTab({ id }: { readonly id: string | undefined }) {
  const webhooks = usePages<WebhookData>('/v1/webhooks', { all: true });
  const dialog = useDialog();
  const chosen = webhooks.items?.find((webhook) => String(webhook.id) === id);
  return (
    <div class="stack">
      <Panel
        title={words.title}
        note={words.lead}
        flush
        actions={
          <Button look="primary" isSmall onClick={dialog.open}>
            {words.create}
          </Button>
        }
      >
        <WebhookList webhooks={webhooks} />
      </Panel>
      {chosen && <WebhookPanel key={chosen.id} webhook={chosen} reload={webhooks.reload} />}
      {!chosen && <WebhookEventsPanel />}
      {dialog.isOpen && <NewWebhook onClose={dialog.close} onDone={webhooks.reload} />}
    </div>
  );
}

const COLUMNS: readonly Column<WebhookData>[] = [
  {
    label: words.url,
    cell: ({ id, url }) => (
      <a class="break" href={`/operations/webhooks/${id}`}>
        {url}
      </a>
    ),
  },
  {
    label: words.events,
    isMinor: true,
    cell: ({ eventTypes }) =>
      eventTypes.length === 0 ? (
        <span class="soft">{words.allEvents}</span>
      ) : (
        <ul>
          {eventTypes.map((type) => (
            <li key={type}>{nameOfEvent(type)}</li>
          ))}
        </ul>
      ),
  },
  {
    label: words.advertiser,
    isMinor: true,
    cell: ({ advertiserName }) => advertiserName ?? words.everything,
  },
  { label: words.status, cell: ({ status }) => <StatusTag status={status} /> },
  { label: words.state, cell: (webhook) => <TargetState webhook={webhook} /> },
];

function WebhookList({ webhooks }: { readonly webhooks: Pages<WebhookData> }) {
  return (
    <ListTable
      isStacked
      label={words.title}
      columns={COLUMNS}
      pages={webhooks}
      keyOf={({ id }) => id}
      empty={<Empty title={words.empty}>{words.emptyLead}</Empty>}
    />
  );
}

/** Whether the target of a webhook answers. */
function TargetState({ webhook: { failingSince, retryAt } }: { readonly webhook: WebhookData }) {
  if (failingSince === null) return <span class="tag good">{words.ok}</span>;
  return (
    <>
      <span class="tag bad" title={formatTime(failingSince)}>
        {words.failing(formatDuration(Math.max(0, (clock.value - Date.parse(failingSince)) / 1_000)))}
      </span>
      {retryAt !== null && (
        <span class="sub">
          {words.retryAt} <Time at={retryAt} />
        </span>
      )}
    </>
  );
}

type NewProps = { readonly onClose: () => void; readonly onDone: () => void };

function NewWebhook({ onClose, onDone }: NewProps) {
  const [url, setUrl] = useState('');
  const [events, setEvents] = useState<readonly string[]>([]);
  const [advertiser, setAdvertiser] = useState<AdvertiserChoice | null>(null);
  const [unknown, setUnknown] = useState('');
  const own = useAdvertiser(String(session.value?.advertiserIds?.[0] ?? '')).data;
  const chosen = advertiser ?? own;
  const [made, setMade] = useState<z.input<typeof WebhookWithSecret> | null>(null);
  const create = async (attempts: Attempts) => {
    if (unknown !== '') throw fieldError('advertiserId', texts.errors.unknownAdvertiser(unknown));
    const body = { url: url.trim(), eventTypes: events, advertiserId: chosen?.id ?? null };
    setMade(await post<z.input<typeof WebhookWithSecret>>('/v1/webhooks', body, attempts));
    onDone();
  };
  return (
    <Dialog title={words.create} onClose={onClose}>
      {made ? (
        <SecretShown label={words.secret} lead={words.secretLead} secret={made.secret} onClose={onClose} />
      ) : (
        <Form onSubmit={create} submit={words.create} onCancel={onClose}>
          <TextField
            label={words.url}
            name="url"
            hint={usePrivateTargets() ? words.privateUrlHint : words.urlHint}
            value={url}
            onChange={setUrl}
            autoFocus
          />
          <EventTypes chosen={events} onChange={setEvents} />
          <AdvertiserPicker
            label={words.advertiser}
            placeholder={words.advertiserHint}
            name="advertiserId"
            chosen={chosen}
            onChoose={setAdvertiser}
            onUnknown={setUnknown}
          />
        </Form>
      )}
    </Dialog>
  );
}

/** Whether the console sends to addresses of its own network, too. */
function usePrivateTargets(): boolean {
  const settings = useResource<OperationsData>(can('status.read') ? '/v1/operations' : null).data?.settings;
  return settings?.some(({ name, value }) => name === 'WEBHOOK_PRIVATE_TARGETS' && value === 'on') ?? false;
}

type EventTypesProps = {
  readonly chosen: readonly string[];
  readonly onChange: (chosen: readonly string[]) => void;
};

/** The types of events that a webhook gets. */
function EventTypes({ chosen, onChange }: EventTypesProps) {
  const change = (type: string) => (isChecked: boolean) =>
    onChange(isChecked ? [...chosen, type] : chosen.filter((one) => one !== type));
  return (
    <fieldset class="choices">
      <legend>
        {words.events} <span class="soft">({words.eventsHint})</span>
      </legend>
      {Object.entries(words.types).map(([type, label]) => (
        <CheckField key={type} label={label} isChecked={chosen.includes(type)} onChange={change(type)} />
      ))}
    </fieldset>
  );
}
