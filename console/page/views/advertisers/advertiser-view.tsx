import { useState } from 'preact/hooks';
import { chargeOf } from '../../charge-state.ts';
import type { Ad, Advertiser, Campaign } from '../../entities.ts';
import { usePages, useResource } from '../../resource.ts';
import { can } from '../../session.ts';
import { texts } from '../../texts.ts';
import { ActionsMenu } from '../../ui/actions-menu.tsx';
import { Button } from '../../ui/button.tsx';
import { clock } from '../../ui/clock.ts';
import { History } from '../../ui/history.tsx';
import { Page } from '../../ui/page.tsx';
import { Loaded } from '../../ui/state.tsx';
import { statusTargets } from '../../ui/status-change.tsx';
import { StatusTag } from '../../ui/values.tsx';
import { CampaignPanel } from '../campaigns/campaign-panel.tsx';
import { ChargeNote } from '../charge-note.tsx';
import { type AdvertiserDialog, AdvertiserDialogs } from './advertiser-dialogs.tsx';
import { BudgetEntries } from './budget-entries.tsx';
import { budgetNow } from './budget-now.ts';
import { BudgetPanel } from './budget-panel.tsx';
import { NextSteps } from './next-steps.tsx';

const words = texts.advertisers;

/** Time between two reads, in ms. The budget comes live; the rest changes seldom. */
const RELOAD_MS = 10_000;

/** An advertiser: its budget, its campaigns, and what was changed. */
export function AdvertiserView({ id }: { readonly id: string }) {
  const path = `/v1/advertisers/${encodeURIComponent(id)}`;
  const resource = useResource<Advertiser>(path, {}, RELOAD_MS);
  const advertiser = resource.data;
  const crumbs = [{ label: words.title, href: '/advertisers' }];
  if (advertiser === null)
    return (
      <Page title={words.one} crumbs={crumbs}>
        <Loaded resource={resource} lines={8}>
          {() => null}
        </Loaded>
      </Page>
    );
  return <OneAdvertiser {...{ advertiser, etag: resource.etag, reload: resource.reload }} />;
}

type OneProps = {
  readonly advertiser: Advertiser;
  readonly etag: string | null;
  readonly reload: () => void;
};

function OneAdvertiser({ advertiser, etag, reload }: OneProps) {
  const { id, name, status, timeZone } = advertiser;
  const [isWithArchived, setWithArchived] = useState(false);
  const campaigns = usePages<Campaign>(
    '/v1/campaigns',
    { advertiserId: id, all: isWithArchived || null },
    RELOAD_MS,
  );
  const ads = useResource<{ readonly items: readonly Ad[] }>('/v1/ads', { advertiserId: id, limit: 1 });
  const [dialog, open] = useState<AdvertiserDialog | null>(null);
  const [version, setVersion] = useState(0);
  const now = budgetNow(advertiser);
  const onDone = () => {
    reload();
    setVersion((count) => count + 1);
  };
  // What is left may be less than the price of every ad.
  const remaining = now.tone === 'empty' ? '0' : now.remaining;
  const charge = chargeOf({ advertiser: { status, remaining } }, clock.value);
  return (
    <Page
      title={name}
      tags={<Tags {...{ status, now }} />}
      crumbs={[{ label: words.title, href: '/advertisers' }]}
      actions={<Actions status={status} open={open} />}
    >
      <div class="stack">
        {charge.state !== 'charging' && Number(now.budget) > 0 && (
          <ChargeNote charge={charge} currency={advertiser.currency} />
        )}
        <NextSteps
          {...{ advertiser, open }}
          campaigns={campaigns.items}
          firstAd={ads.data?.items[0] ?? null}
          isLoading={ads.data === null}
        />
        <BudgetPanel {...{ advertiser, now }} />
        <CampaignPanel
          pages={campaigns}
          zone={timeZone}
          {...{ isWithArchived, setWithArchived }}
          onCreate={can('campaigns.write') && status !== 'archived' ? () => open('campaign') : null}
        />
        <div class="grid">
          {can('budgets.read') && <BudgetEntries {...{ advertiser, version }} />}
          {can('audit.read') && (
            <History query={{ advertiserId: id }} zone={timeZone} version={version} span={5} />
          )}
        </div>
      </div>
      <AdvertiserDialogs {...{ advertiser, etag, dialog, onDone }} onClose={() => open(null)} />
    </Page>
  );
}

function Tags({
  status,
  now,
}: {
  readonly status: Advertiser['status'];
  readonly now: ReturnType<typeof budgetNow>;
}) {
  return (
    <>
      <StatusTag status={status} />
      {now.isSample && (
        <span class="tag" title={words.sampleAbout}>
          {words.sample}
        </span>
      )}
      {now.tone === 'low' && <span class="tag warn">{words.low}</span>}
      {now.tone === 'empty' && Number(now.budget) > 0 && <span class="tag bad">{words.exhausted}</span>}
    </>
  );
}

type ActionsProps = {
  readonly status: Advertiser['status'];
  readonly open: (dialog: AdvertiserDialog) => void;
};

function Actions({ status, open }: ActionsProps) {
  const canUpdate = can('advertisers.update');
  const canPay = can('budgets.write');
  return (
    <>
      <ActionsMenu
        actions={[
          canUpdate && { label: texts.controls.edit, onClick: () => open('edit') },
          canPay && { label: words.adjust.action, onClick: () => open('adjust') },
          can('clicks.credit') && { label: words.credit.action, onClick: () => open('credit') },
          can('clicks.credit') && { label: texts.credits.action, onClick: () => open('credits') },
          ...statusTargets(status).map(
            (target) =>
              canUpdate && {
                label: texts.statusChange.advertiser[target].action,
                onClick: () => open(target),
                isDangerous: target === 'archived',
              },
          ),
        ]}
      />
      {canPay && (
        <Button look="primary" onClick={() => open('top_up')}>
          {words.topUp.action}
        </Button>
      )}
    </>
  );
}
