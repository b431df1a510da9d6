import type { QueryValues } from '../api.ts';
import type { AuditEntry } from '../entities.ts';
import { formatTime } from '../format.ts';
import { type NamedIds, type Names, useNames } from '../names.ts';
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
  const { campaigns, ads } = namedIn(items ?? []);
  const names = useNames({
    ...(can('campaigns.read') && { campaigns }),
    ...(can('ads.read') && { ads }),
  });
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

/** The ids in some changes whose names are shown. */
export function namedIn(entries: readonly AuditEntry[]): Required<NamedIds> {
  const ids = { advertisers: [] as unknown[], campaigns: [] as unknown[], ads: [] as unknown[] };
  for (const { action, subject, advertiserId, before, after } of entries) {
    const [kind] = action.split('.');
    if (kind === 'campaign') ids.campaigns.push(subject);
    if (kind === 'ad') ids.ads.push(subject);
    ids.advertisers.push(advertiserId);
    for (const values of [before, after]) {
      ids.campaigns.push(values?.campaignId);
      ids.advertisers.push(values?.advertiserId, ...[values?.advertiserIds].flat());
    }
  }
  // Others, such as `null`, are no ids.
  const known = (found: readonly unknown[]) =>
    found.map(Number).filter((id) => Number.isInteger(id) && id > 0);
  return { advertisers: known(ids.advertisers), campaigns: known(ids.campaigns), ads: known(ids.ads) };
}

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
  if (kind === 'campaign') return named(id, names?.campaign);
  const name = kind === 'ad' ? names?.adName(Number(id)) : null;
  return name ? `${id} ${name}` : id;
}

/** The id of a campaign or an advertiser with its name, if that is known: `4 Spring`. */
function named(id: string, nameOf: ((id: number) => string) | undefined): string {
  const name = nameOf?.(Number(id)) ?? id;
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
  if (name === 'campaignId') return <>{named(String(value), names?.campaign)}</>;
  if (name === 'advertiserId' || name === 'advertiserIds')
    return (
      <>
        {[value]
          .flat()
          .map((id) => named(String(id), names?.advertiser))
          .join(', ')}
      </>
    );
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
