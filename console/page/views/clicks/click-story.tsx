import { useEffect, useState } from 'preact/hooks';
import { ApiError, type Attempts, post } from '../../api.ts';
import { formatAmount, viewerZone } from '../../format.ts';
import { useResource } from '../../resource.ts';
import { can } from '../../session.ts';
import { nameOfReason, texts } from '../../texts.ts';
import { Button } from '../../ui/button.tsx';
import { Confirm, useDialog } from '../../ui/dialog.tsx';
import { Panel } from '../../ui/page.tsx';
import { Empty, Loaded, Note } from '../../ui/state.tsx';
import { Timeline } from '../../ui/timeline.tsx';
import { notify } from '../../ui/toast.tsx';
import { Amount, Outcome } from '../../ui/values.tsx';
import { describeEvent } from './describe-event.ts';
import type { Story } from './story.ts';

type Advertiser = { readonly name: string; readonly currency: string };

const words = texts.clicks;
/** Time between two looks at a click that is under way, in ms. */
const LOOK_MS = 1_000;

/** What happened to one click, and in one sentence why it was or was not charged. */
export function ClickStory({ reference }: { readonly reference: string }) {
  const [isUnderWay, setUnderWay] = useState(false);
  const path = `/v1/clicks/${encodeURIComponent(reference)}`;
  const story = useResource<Story>(path, {}, isUnderWay ? LOOK_MS : undefined);
  const state = story.data?.state;
  useEffect(() => setUnderWay(state === 'in_flight'), [state]);
  if (story.error instanceof ApiError && story.error.status === 404)
    return (
      <Panel>
        <Empty title={words.unknown} actions={<Button onClick={story.reload}>{texts.errors.retry}</Button>}>
          {story.error.message}
        </Empty>
      </Panel>
    );
  return (
    <>
      {isUnderWay && <Note>{words.waiting}</Note>}
      <Loaded resource={story} lines={6}>
        {(data) => <Told story={data} reload={story.reload} />}
      </Loaded>
    </>
  );
}

function Told({ story, reload }: { readonly story: Story; readonly reload: () => void }) {
  const advertiser = useResource<Advertiser>(
    story.advertiserId === null ? null : `/v1/advertisers/${story.advertiserId}`,
  ).data;
  return (
    <div class="grid">
      <div class="span-7 stack">
        <Panel title={words.story} note={texts.units.zone(viewerZone)}>
          <div class="stack">
            <div class="row">
              {story.outcome !== null && <Outcome outcome={story.outcome} />}
              {story.reason !== null && <span class="soft">{nameOfReason(story.reason)}</span>}
            </div>
            <p>{story.explanation}</p>
            <Timeline
              isExact
              moments={story.history.map(({ at, event }) => ({ at, text: describeEvent(event) }))}
            />
            {can('clicks.credit') && story.outcome === 'charged' && advertiser && (
              <Credit {...{ story, advertiser }} onDone={reload} />
            )}
          </div>
        </Panel>
        <Panel title={words.evidence}>
          <Evidence evidence={story.evidence} />
        </Panel>
      </div>
      <Panel title={words.facts} span={5}>
        <Facts story={story} advertiser={advertiser} />
      </Panel>
    </div>
  );
}

function Facts({ story, advertiser }: { readonly story: Story; readonly advertiser: Advertiser | null }) {
  const { price, charged, credited, advertiserId, campaignId, adId } = story;
  const amount = (value: string | null) =>
    value === null || advertiser === null ? '–' : <Amount value={value} currency={advertiser.currency} />;
  const link = (path: string, id: number | null, text: string) =>
    id === null ? '–' : <a href={`/${path}/${id}`}>{text}</a>;
  return (
    <dl class="facts">
      <dt>{words.price}</dt>
      <dd>{amount(price)}</dd>
      <dt>{words.charged}</dt>
      <dd>{amount(charged)}</dd>
      <dt>{words.credited}</dt>
      <dd>{Number(credited) === 0 ? '–' : amount(credited)}</dd>
      <dt>{words.advertiser}</dt>
      <dd>{link('advertisers', advertiserId, story.advertiserName ?? String(advertiserId))}</dd>
      <dt>{words.campaign}</dt>
      <dd>{link('campaigns', campaignId, story.campaignName ?? String(campaignId))}</dd>
      <dt>{words.ad}</dt>
      <dd>
        {adId === null
          ? '–'
          : link('ads', adId, story.adName ? texts.ads.name(adId, story.adName) : String(adId))}
      </dd>
      <dt>{words.publisher}</dt>
      <dd>{story.publisher ?? '–'}</dd>
      <dt>{words.clickId}</dt>
      <dd class="mono">{story.clickId ?? '–'}</dd>
      <dt>{words.nonce}</dt>
      <dd class="mono">{story.nonce ?? '–'}</dd>
      <dt>{words.spool}</dt>
      <dd class="mono">{story.spoolId === null ? '–' : `${story.spoolId}, ${story.sequence}`}</dd>
      <dt>{words.duplicates}</dt>
      <dd>{story.duplicates ?? '–'}</dd>
    </dl>
  );
}

function Evidence({ evidence }: { readonly evidence: Story['evidence'] }) {
  if (evidence === null) return <p class="soft">{words.noEvidence}</p>;
  const subIds = Object.entries(evidence.subIds ?? {});
  return (
    <dl class="facts">
      <dt>{words.network}</dt>
      <dd class="mono">{evidence.network ?? '–'}</dd>
      <dt>{words.userAgent}</dt>
      <dd>{evidence.userAgent ?? '–'}</dd>
      <dt>{words.referrer}</dt>
      <dd>{evidence.referrerHost ?? '–'}</dd>
      <dt>{words.subIds}</dt>
      <dd>{subIds.length === 0 ? '–' : subIds.map(([name, value]) => `${name}=${value}`).join(', ')}</dd>
    </dl>
  );
}

type CreditProps = {
  readonly story: Story;
  readonly advertiser: Advertiser;
  readonly onDone: () => void;
};

function Credit({ story: { clickId, charged, credited }, advertiser, onDone }: CreditProps) {
  const dialog = useDialog();
  const isCredited = credited !== null && Number(credited) !== 0;
  if (isCredited || clickId === null || charged === null) return null;
  const { name, currency } = advertiser;
  const amount = `${formatAmount(charged, currency)} ${currency}`;
  const credit = async (attempts: Attempts) => {
    await post(`/v1/clicks/${clickId}/credit`, undefined, attempts);
    notify(words.credit.done(amount, name));
    onDone();
  };
  return (
    <div class="actions">
      <Button onClick={dialog.open}>{words.credit.action}</Button>
      {dialog.isOpen && (
        <Confirm
          title={words.credit.title}
          action={words.credit.submit(amount)}
          onConfirm={credit}
          onClose={dialog.close}
        >
          <p>{words.credit.lead(amount, name)}</p>
        </Confirm>
      )}
    </div>
  );
}
