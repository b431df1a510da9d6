import { useState } from 'preact/hooks';
import { type Charge, chargeOf } from '../../charge-state.ts';
import type { Ad, Advertiser, Campaign } from '../../entities.ts';
import { usePages, useResource } from '../../resource.ts';
import { go, query, setQuery } from '../../router.ts';
import { can } from '../../session.ts';
import { texts } from '../../texts.ts';
import { ActionsMenu } from '../../ui/actions-menu.tsx';
import { Button, LinkButton } from '../../ui/button.tsx';
import { clock } from '../../ui/clock.ts';
import { History } from '../../ui/history.tsx';
import { Page } from '../../ui/page.tsx';
import { Loaded, Note } from '../../ui/state.tsx';
import { StatusChange, type StatusTarget, statusTargets } from '../../ui/status-change.tsx';
import { StatusTag } from '../../ui/values.tsx';
import { budgetNow } from '../advertisers/budget-now.ts';
import { ChargeNote } from '../charge-note.tsx';
import { NewAd } from './ad-form.tsx';
import { AdPanel } from './ad-panel.tsx';
import { PhaseTag } from './campaign-columns.tsx';
import { EditCampaign } from './campaign-form.tsx';
import { CampaignSettings } from './campaign-settings.tsx';
import { SpendPanel } from './spend-panel.tsx';

const words = texts.campaigns;

type CampaignDialog = 'edit' | 'ad' | StatusTarget;

/** Time between two reads of what is spent, and of what decides whether clicks are charged, in ms. */
const RELOAD_MS = 3_000;

/** A campaign: what it has spent, its settings, its ads, and what was changed. */
export function CampaignPage({ id }: { readonly id: string }) {
  const path = `/v1/campaigns/${encodeURIComponent(id)}`;
  const campaign = useResource<Campaign>(path, {}, RELOAD_MS);
  const advertiserId = campaign.data?.advertiserId;
  const advertiser = useResource<Advertiser>(
    advertiserId === undefined ? null : `/v1/advertisers/${advertiserId}`,
    {},
    RELOAD_MS,
  );
  if (campaign.data === null || advertiser.data === null)
    return (
      <Page title={words.one} crumbs={[{ label: texts.advertisers.title, href: '/advertisers' }]}>
        <Loaded<unknown> resource={campaign.data === null ? campaign : advertiser} lines={8}>
          {() => null}
        </Loaded>
      </Page>
    );
  return (
    <OneCampaign
      campaign={campaign.data}
      advertiser={advertiser.data}
      etag={campaign.etag}
      reload={campaign.reload}
    />
  );
}

type OneProps = {
  readonly campaign: Campaign;
  readonly advertiser: Advertiser;
  readonly etag: string | null;
  readonly reload: () => void;
};

function OneCampaign({ campaign, advertiser, etag, reload }: OneProps) {
  const { id, name, status, advertiserId } = campaign;
  const [isWithArchived, setWithArchived] = useState(false);
  const isArchived = status === 'archived';
  // Without `all`, an archived campaign has no ads.
  const ads = usePages<Ad>(
    '/v1/ads',
    { campaignId: id, all: isArchived || isWithArchived || null },
    RELOAD_MS,
  );
  // The page of the advertiser leads to the first ad.
  const [dialog, open] = useState<CampaignDialog | null>(query.value.has('new') ? 'ad' : null);
  const [version, setVersion] = useState(0);
  const { remaining } = budgetNow(advertiser);
  const charge = chargeOf(
    {
      ...{ advertiser: { status: advertiser.status, remaining }, campaign },
      ...(ads.items !== null && ads.more === null && { ads: ads.items }),
    },
    clock.value,
  );
  const close = () => {
    open(null);
    setQuery({ new: undefined });
  };
  const onDone = () => {
    reload();
    ads.reload();
    setVersion((count) => count + 1);
  };
  const canAdd = can('ads.write') && !isArchived;
  return (
    <Page
      title={name}
      tags={
        <>
          <StatusTag status={status} />
          <PhaseTag campaign={campaign} />
        </>
      }
      crumbs={[
        { label: texts.advertisers.title, href: '/advertisers' },
        { label: advertiser.name, href: `/advertisers/${advertiserId}` },
      ]}
      actions={<Actions {...{ campaign, open, canAdd }} />}
    >
      <div class="stack">
        <ChargeNotes {...{ charge, campaign }} />
        <div class="grid">
          <SpendPanel campaign={campaign} />
          <CampaignSettings campaign={campaign} />
        </div>
        <AdPanel
          pages={ads}
          isWithArchived={isArchived ? null : isWithArchived}
          setWithArchived={setWithArchived}
          onCreate={canAdd ? () => open('ad') : null}
        />
        {can('audit.read') && (
          <History
            query={{ advertiserId, action: 'campaign', subject: id }}
            zone={campaign.timeZone}
            version={version}
          />
        )}
      </div>
      <Dialogs {...{ campaign, etag, dialog, onDone }} ads={ads.items ?? []} onClose={close} />
    </Page>
  );
}

/** What says itself that a limit pays for no click, or makes it unimportant. */
const SAY_IT: readonly Charge['state'][] = [
  'budget',
  'cap',
  'ended',
  'campaign_archived',
  'advertiser_archived',
];

/** Says whether clicks are charged, and also while something else stops them, such as a pause, that a limit pays for none. */
function ChargeNotes({ charge, campaign }: { readonly charge: Charge; readonly campaign: Campaign }) {
  const { priceAbove, currency } = campaign;
  const isSaid = SAY_IT.includes(charge.state) || 'price' in charge;
  return (
    <>
      {(charge.state !== 'charging' || priceAbove === null) && (
        <ChargeNote {...{ charge, currency, campaign }} />
      )}
      {priceAbove !== null && !isSaid && <Note tone="warn">{words.priceAbove[priceAbove]}</Note>}
    </>
  );
}

type ActionsProps = {
  readonly campaign: Campaign;
  readonly open: (dialog: CampaignDialog) => void;
  readonly canAdd: boolean;
};

function Actions({ campaign, open, canAdd }: ActionsProps) {
  const { id, advertiserId, status } = campaign;
  const canWrite = can('campaigns.write');
  return (
    <>
      {can('reports.read') && (
        <LinkButton look="plain" href={`/reports?advertiser=${advertiserId}&campaign=${id}&period=month`}>
          {words.report}
        </LinkButton>
      )}
      <ActionsMenu
        actions={[
          canWrite && { label: texts.controls.edit, onClick: () => open('edit') },
          ...statusTargets(status).map(
            (target) =>
              canWrite && {
                label: texts.statusChange.campaign[target].action,
                onClick: () => open(target),
                isDangerous: target === 'archived',
              },
          ),
        ]}
      />
      {canAdd && (
        <Button look="primary" onClick={() => open('ad')}>
          {texts.ads.create.action}
        </Button>
      )}
    </>
  );
}

type DialogsProps = {
  readonly campaign: Campaign;
  readonly ads: readonly Ad[];
  readonly etag: string | null;
  readonly dialog: CampaignDialog | null;
  readonly onDone: () => void;
  readonly onClose: () => void;
};

function Dialogs({ campaign, ads, etag, dialog, onDone, onClose }: DialogsProps) {
  if (dialog === null) return null;
  if (dialog === 'ad') return <NewAd {...{ campaign, onClose }} onDone={(made) => go(`/ads/${made.id}`)} />;
  if (dialog === 'edit') return <EditCampaign {...{ campaign, ads, etag, onDone, onClose }} />;
  return (
    <StatusChange
      kind="campaign"
      name={campaign.name}
      path={`/v1/campaigns/${campaign.id}`}
      opened={{ data: campaign, etag }}
      status={dialog}
      {...{ onDone, onClose }}
    />
  );
}
