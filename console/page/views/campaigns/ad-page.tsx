import { useState } from 'preact/hooks';
import { chargeOf } from '../../charge-state.ts';
import type { Ad, Advertiser, Campaign } from '../../entities.ts';
import { useResource } from '../../resource.ts';
import { can } from '../../session.ts';
import { texts } from '../../texts.ts';
import { ActionsMenu } from '../../ui/actions-menu.tsx';
import { clock } from '../../ui/clock.ts';
import { History } from '../../ui/history.tsx';
import { Page, Panel } from '../../ui/page.tsx';
import { Loaded } from '../../ui/state.tsx';
import { StatusChange, type StatusTarget, statusTargets } from '../../ui/status-change.tsx';
import { Amount, StatusTag } from '../../ui/values.tsx';
import { budgetNow } from '../advertisers/budget-now.ts';
import { ChargeNote } from '../charge-note.tsx';
import { EditAd } from './ad-form.tsx';
import { AdSpend } from './ad-spend.tsx';
import { LinksPanel } from './links-panel.tsx';

const words = texts.ads;

type AdDialog = 'edit' | StatusTarget;

/** Time between two reads of what decides whether clicks are charged, in ms. */
const RELOAD_MS = 3_000;

/** An ad: its price, its destination, its clicks and spend, its links, and what was changed. */
export function AdPage({ id }: { readonly id: string }) {
  const ad = useResource<Ad>(`/v1/ads/${encodeURIComponent(id)}`, {}, RELOAD_MS);
  const { advertiserId, campaignId } = ad.data ?? {};
  const campaign = useResource<Campaign>(campaignId ? `/v1/campaigns/${campaignId}` : null, {}, RELOAD_MS);
  const advertiser = useResource<Advertiser>(
    advertiserId ? `/v1/advertisers/${advertiserId}` : null,
    {},
    RELOAD_MS,
  );
  if (ad.data === null || campaign.data === null || advertiser.data === null) {
    const missing = [ad, campaign, advertiser].find(({ data }) => data === null) ?? ad;
    return (
      <Page title={words.columns.ad} crumbs={[{ label: texts.advertisers.title, href: '/advertisers' }]}>
        <Loaded<unknown> resource={missing} lines={8}>
          {() => null}
        </Loaded>
      </Page>
    );
  }
  return (
    <OneAd
      ad={ad.data}
      campaign={campaign.data}
      advertiser={advertiser.data}
      etag={ad.etag}
      reload={ad.reload}
    />
  );
}

type OneProps = {
  readonly ad: Ad;
  readonly campaign: Campaign;
  readonly advertiser: Advertiser;
  readonly etag: string | null;
  readonly reload: () => void;
};

function OneAd({ ad, campaign, advertiser, etag, reload }: OneProps) {
  const { id, advertiserId, campaignId, status } = ad;
  const name = words.name(id, ad.name);
  const [dialog, open] = useState<AdDialog | null>(null);
  const [version, setVersion] = useState(0);
  const { remaining } = budgetNow(advertiser);
  const charge = chargeOf(
    { advertiser: { status: advertiser.status, remaining }, campaign, ad },
    clock.value,
  );
  const onDone = () => {
    reload();
    setVersion((count) => count + 1);
  };
  return (
    <Page
      title={name}
      tags={<StatusTag status={status} />}
      lead={<span class="break">{ad.urlTemplate}</span>}
      crumbs={[
        { label: texts.advertisers.title, href: '/advertisers' },
        { label: advertiser.name, href: `/advertisers/${advertiserId}` },
        { label: campaign.name, href: `/campaigns/${campaignId}` },
      ]}
      actions={<Actions {...{ status, open }} />}
    >
      <div class="stack">
        <ChargeNote charge={charge} currency={advertiser.currency} campaign={campaign} />
        {can('reports.read') && <AdSpend ad={ad} zone={advertiser.timeZone} />}
        <div class="grid">
          <LinksPanel ad={ad} />
          <AdSettings ad={ad} />
        </div>
        {can('audit.read') && (
          <History
            query={{ advertiserId, action: 'ad', subject: id }}
            zone={advertiser.timeZone}
            version={version}
          />
        )}
      </div>
      {dialog === 'edit' && <EditAd {...{ ad, campaign, etag, onDone }} onClose={() => open(null)} />}
      {dialog !== null && dialog !== 'edit' && (
        <StatusChange
          kind="ad"
          name={name}
          path={`/v1/ads/${id}`}
          opened={{ data: ad, etag }}
          status={dialog}
          onDone={onDone}
          onClose={() => open(null)}
        />
      )}
    </Page>
  );
}

type ActionsProps = { readonly status: Ad['status']; readonly open: (dialog: AdDialog) => void };

function Actions({ status, open }: ActionsProps) {
  const canWrite = can('ads.write');
  return (
    <ActionsMenu
      actions={[
        canWrite && { label: texts.controls.edit, onClick: () => open('edit') },
        ...statusTargets(status).map(
          (target) =>
            canWrite && {
              label: texts.statusChange.ad[target].action,
              onClick: () => open(target),
              isDangerous: target === 'archived',
            },
        ),
      ]}
    />
  );
}

function AdSettings({ ad: { price, currency, urlTemplate, passParameters } }: { readonly ad: Ad }) {
  const { settings } = words;
  return (
    <Panel title={settings.title} span={4}>
      <dl class="facts">
        <dt>{settings.price}</dt>
        <dd>
          <Amount value={price} currency={currency} />
        </dd>
        <dt>{settings.destination}</dt>
        <dd>{urlTemplate}</dd>
        <dt>{settings.pass}</dt>
        <dd>{passParameters.join(', ') || <span class="soft">{settings.none}</span>}</dd>
      </dl>
    </Panel>
  );
}
