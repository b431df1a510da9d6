import { useState } from 'preact/hooks';
import type * as z from 'zod';
import type { WebhookEvent } from '../../../api/routes/webhook-deliveries.ts';
import { useNames } from '../../names.ts';
import { usePages } from '../../resource.ts';
import { texts } from '../../texts.ts';
import { Button } from '../../ui/button.tsx';
import { Dialog } from '../../ui/dialog.tsx';
import { Panel } from '../../ui/page.tsx';
import { Empty } from '../../ui/state.tsx';
import { type Column, ListTable } from '../../ui/table.tsx';
import { Ago } from '../../ui/values.tsx';
import { EventName, nameOfEvent } from './event-name.tsx';
import { EventSubject } from './event-subject.tsx';

type EventData = z.input<typeof WebhookEvent>;

const { webhooks: words, webhookEvents: eventWords } = texts.operations;
/** Time between two looks, in ms. */
const LOOK_MS = 3_000;
const SHOWN = 20;

/** The latest events, also those that no webhook subscribes to, with what is sent. */
export function WebhookEventsPanel() {
  const events = usePages<EventData>('/v1/webhook-events', { limit: SHOWN }, LOOK_MS);
  const names = useNames({
    advertisers: (events.items ?? []).flatMap(({ advertiserId }) => advertiserId ?? []),
  });
  const [shown, setShown] = useState<EventData | null>(null);
  const columns: Column<EventData>[] = [
    { label: words.occurred, cell: ({ occurredAt }) => <Ago at={occurredAt} /> },
    { label: words.event, cell: ({ type }) => <EventName type={type} /> },
    {
      label: eventWords.about,
      cell: ({ advertiserId, data }) => (
        <EventSubject
          {...{ advertiserId, data }}
          name={advertiserId === null ? null : names.advertiser(advertiserId)}
        />
      ),
    },
    {
      label: '',
      isNumber: true,
      cell: (event) => (
        <Button isSmall onClick={() => setShown(event)}>
          {eventWords.look}
        </Button>
      ),
    },
  ];
  return (
    <Panel title={eventWords.title} note={eventWords.note} flush>
      <ListTable
        isStacked
        label={eventWords.title}
        columns={columns}
        pages={events}
        keyOf={({ id }) => id}
        empty={<Empty title={eventWords.empty}>{eventWords.emptyLead}</Empty>}
      />
      {shown && (
        <Dialog title={nameOfEvent(shown.type)} onClose={() => setShown(null)} isWide>
          <pre>
            {JSON.stringify({ type: shown.type, timestamp: shown.occurredAt, data: shown.data }, null, 2)}
          </pre>
        </Dialog>
      )}
    </Panel>
  );
}
