import type { QueryValues } from '../api.ts';
import type { AuditEntry } from '../entities.ts';
import { formatTime } from '../format.ts';
import { type Names, useNames } from '../names.ts';
import { usePages, useReload } from '../resource.ts';
import { can } from '../session.ts';
import { texts } from '../texts.ts';
import { Button } from './button.tsx';
import { Panel } from './page.tsx';
import { Empty, ErrorBox, Skeleton } from './state.tsx';
import { Timeline } from './timeline.tsx';
import { Amount } from './values.tsx';

const words = texts.history;

type HistoryProps = {
  /** The filter of the audit log. */
  readonly query: QueryValues & { readonly advertiserId: number };
  /** Times in the values are shown in this time zone. */
  readonly zone: string;
  /** Changes when something was changed; the history is then read again. */
  readonly version: unknown;
  readonly span?: 4 | 5;
};

/** Who changed what, newest first. */
export function History({ query, zone, version, span }: HistoryProps) {
  const { items, error, more, reload } = usePages<AuditEntry>('/v1/audit', { limit: 20, ...query });
  useReload(reload, version);
  const names = useNames(
    [...(can('campaigns.read') ? ['campaigns' as const] : []), ...(can('ads.read') ? ['ads' as const] : [])],
    query.advertiserId,
  );
  return (
    <Panel title={words.title} note={texts.units.zone(zone)} {...(span && { span })}>
      {error && <ErrorBox error={error} retry={reload} />}
      {items === null && !error && <Skeleton lines={4} />}
      {items?.length === 0 && <Empty title={words.none}>{words.noneLead}</Empty>}
      {items !== null && items.length > 0 && (
        <div class="stack">
          <Timeline
            zone={zone}
            moments={items.map((entry) => ({ at: entry.at, text: <Change {...{ entry, zone, names }} /> }))}
          />
          {more && (
            <div>
              <Button isSmall onClick={more}>
                {texts.controls.more}
              </Button>
            </div>
          )}
        </div>
      )}
    </Panel>
  );
}

const LINKS: Readonly<Record<string, string>> = {
  ...{ campaign: '/campaigns', ad: '/ads', webhook: '/operations/webhooks' },
  dead_letter: '/operations/dead-letters',
};

type ChangeProps = {
  readonly entry: AuditEntry;
  readonly zone: string;
  /** The names of campaigns and ads, if they are known. */
  readonly names?: Names;
};

/** A change: what, who, and the values before and after. */
export function Change({ entry, zone, names }: ChangeProps) {
  const { action, subject, before, after, currency } = entry;
  const [kind = ''] = action.split('.');
  const label = words.actions[action] ?? action;
  const shown = { zone, currency, ...(names && { names }) };
  return (
    <div class="change">
      <span class="strong">{label}</span>
      {LINKS[kind] !== undefined && (
        <>
          {' '}
          <a href={`${LINKS[kind]}/${subject}`}>{subjectOf(kind, subject, names)}</a>
        </>
      )}{' '}
      <span class="soft">{words.by(actorOf(entry))}</span>
      {after && (
        <ul class={before ? 'soft' : 'soft inline'}>
          {fieldsOf(after).map((name) => (
            <li key={name}>
              {words.fields[name] ?? name}:{' '}
              {before && (
                <>
                  <s>
                    <Value name={name} value={before[name]} {...shown} />
                  </s>
                  {' → '}
                </>
              )}
              <span class="value">
                <Value name={name} value={after[name]} {...shown} />
              </span>
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}

/** The id of a subject, with its name if it is a campaign or an ad. */
function subjectOf(kind: string, id: string, names: Names | undefined): string {
  if (kind === 'campaign') return campaignOf(id, names);
  const name = kind === 'ad' ? names?.adName(Number(id)) : null;
  return name ? `${id} ${name}` : id;
}

/** The id of a campaign with its name: `4 Spring`. */
function campaignOf(id: string, names: Names | undefined): string {
  const name = names?.campaign(Number(id)) ?? id;
  return name === id ? id : `${id} ${name}`;
}

/** The names of the fields in the order of the texts. What load tests need says nothing to a reader. */
function fieldsOf(values: Readonly<Record<string, unknown>>): string[] {
  const order = Object.keys(words.fields);
  const placeOf = (name: string) => (order.includes(name) ? order.indexOf(name) : order.length);
  return Object.keys(values)
    .filter((name) => name !== 'isTest')
    .sort((one, other) => placeOf(one) - placeOf(other));
}

function actorOf({ actorType, actor, actorName }: AuditEntry): string {
  if (actorType === 'cli') return words.cli(actor);
  if (actorType === 'system') return words.system;
  return actorType === 'database' ? words.database(actor) : (actorName ?? actor);
}

const AMOUNTS = new Set(['cap', 'dailyCap', 'price', 'amount']);
const TIMES = new Set(['startsAt', 'endsAt', 'expiresAt', 'revokedAt']);

type ValueProps = {
  readonly name: string;
  readonly value: unknown;
  readonly zone: string;
  readonly currency: string | null;
  readonly names?: Names;
};

function Value({ name, value, zone, currency, names }: ValueProps) {
  // A webhook without types gets all events.
  if (name === 'eventTypes' && Array.isArray(value) && value.length === 0) return <>{words.allEvents}</>;
  if (value === null || value === undefined || (Array.isArray(value) && value.length === 0))
    return <>{words.noValue}</>;
  if (name === 'campaignId') return <>{campaignOf(String(value), names)}</>;
  if (typeof value === 'boolean') return <>{value ? words.yes : words.no}</>;
  if (typeof value === 'string' && AMOUNTS.has(name) && currency !== null)
    return <Amount value={value} currency={currency} />;
  if (typeof value === 'string' && TIMES.has(name)) return <>{formatTime(value, zone)}</>;
  if (typeof value === 'string') return <>{NAMES[name]?.[value] ?? value}</>;
  return <>{Array.isArray(value) ? value.join(', ') : JSON.stringify(value)}</>;
}

const NAMES: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  status: texts.status,
  kind: texts.advertisers.entries.kinds,
  pacing: texts.campaigns.pacings,
};
