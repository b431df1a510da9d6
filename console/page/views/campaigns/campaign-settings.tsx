import type { Campaign } from '../../entities.ts';
import { texts } from '../../texts.ts';
import { Panel } from '../../ui/page.tsx';
import { datesOf } from './campaign-columns.tsx';

const words = texts.campaigns.settings;

/** The settings of a campaign. */
export function CampaignSettings({ campaign }: { readonly campaign: Campaign }) {
  const { pacing, hold, fallbackUrl, externalId } = campaign;
  const none = <span class="soft">{words.none}</span>;
  return (
    <Panel title={words.title} span={5}>
      <dl class="facts">
        <dt>{words.dates}</dt>
        <dd>{datesOf(campaign)}</dd>
        <dt>{words.timeZone}</dt>
        <dd>{campaign.timeZone}</dd>
        <dt>{words.pacing}</dt>
        <dd>{texts.campaigns.pacings[pacing]}</dd>
        {pacing !== 'none' && (
          <>
            <dt>{words.hold}</dt>
            <dd>{hold ? words.holdOn : words.holdOff}</dd>
          </>
        )}
        <dt>{words.fallbackUrl}</dt>
        <dd>{fallbackUrl ?? none}</dd>
        <dt>{words.externalId}</dt>
        <dd>{externalId ?? none}</dd>
      </dl>
    </Panel>
  );
}
