import type { Campaign } from '../../entities.ts';
import { formatDay } from '../../format.ts';
import { usePages } from '../../resource.ts';
import { query, setQuery } from '../../router.ts';
import { texts } from '../../texts.ts';
import { type AdvertiserChoice, AdvertiserPicker } from '../../ui/advertiser-picker.tsx';
import { NoAdvertiser, useAdvertiser } from '../../ui/chosen-advertiser.tsx';
import { clock } from '../../ui/clock.ts';
import { SelectField, TextField } from '../../ui/form.tsx';
import { Page } from '../../ui/page.tsx';
import type { Filter } from './filter.ts';
import { addDays, dayIn, daysOf, PERIODS, type Period } from './period.ts';
import { ReportChart } from './report-chart.tsx';
import { KEYS, ReportTable } from './report-table.tsx';

const words = texts.reports;
/** Campaigns that can be chosen. */
const CAMPAIGNS_MAX = 500;

/** Sums of clicks, as a chart and as a table. */
export function ReportsView() {
  const id = query.value.get('advertiser') || null;
  const chosen = useAdvertiser(id);
  const advertiser = chosen.data;
  // Without its time zone, the days of the advertiser are not known yet.
  const isReady = id === null || advertiser !== null;
  const filter = readFilter(advertiser);
  return (
    <Page title={words.title} lead={words.lead}>
      <section class="panel" aria-label={words.filters}>
        <Filters filter={filter} />
        {isReady && <Printed filter={filter} />}
        {isReady && <ReportChart filter={filter} />}
        {isReady && <ReportTable filter={filter} />}
        {!isReady && <NoAdvertiser chosen={chosen} />}
      </section>
    </Page>
  );
}

/** What the report is about, on paper, where the filters are not shown. */
function Printed({ filter: { advertiser, days } }: { readonly filter: Filter }) {
  const whole = `${formatDay(days.since)} – ${formatDay(addDays(days.until, -1))}`;
  return (
    <p class="print-only strong">
      {advertiser?.name ?? words.everyone}, {whole}
    </p>
  );
}

function readFilter(advertiser: AdvertiserChoice | null): Filter {
  const values = query.value;
  const zone = advertiser?.timeZone ?? 'UTC';
  const period = periodOf(values.get('period'));
  const today = dayIn(new Date(clock.peek()), zone);
  const days =
    period === 'custom'
      ? { since: values.get('since') || addDays(today, -6), until: addDays(values.get('until') || today, 1) }
      : daysOf(period, new Date(clock.peek()), zone);
  const keys = [values.get('by') ?? 'day', values.get('and') ?? ''];
  const by = [...new Set(keys)].filter((key) => KEYS.includes(key));
  const campaign = values.get('campaign');
  const campaignId = advertiser && campaign && /^\d+$/.test(campaign) ? Number(campaign) : null;
  return { advertiser, campaignId, days, by: by.length > 0 ? by : ['day'] };
}

const periodOf = (text: string | null): Period => PERIODS.find((period) => period === text) ?? 'week';

function Filters({ filter: { advertiser, campaignId, days, by } }: { readonly filter: Filter }) {
  const period = periodOf(query.value.get('period'));
  const keys = KEYS.map((value) => ({ value, label: words.keys[value] ?? value }));
  const [first = 'day', second = ''] = by;
  return (
    <div class="filters">
      <AdvertiserPicker
        label={words.advertiser}
        placeholder={words.everyone}
        chosen={advertiser}
        onChoose={(chosen) =>
          setQuery({ advertiser: chosen ? String(chosen.id) : undefined, campaign: undefined })
        }
      />
      {advertiser && <CampaignField advertiserId={advertiser.id} campaignId={campaignId} />}
      <SelectField
        label={words.period}
        value={period}
        options={PERIODS.map((value) => ({ value, label: words.periods[value] }))}
        onChange={(value) => setQuery({ period: value })}
      />
      {period === 'custom' && (
        <>
          <TextField
            label={words.since}
            type="date"
            value={days.since}
            onChange={(since) => setQuery({ since })}
          />
          <TextField
            label={words.until}
            type="date"
            value={addDays(days.until, -1)}
            onChange={(until) => setQuery({ until })}
          />
        </>
      )}
      <SelectField
        label={words.by}
        value={first}
        options={keys}
        onChange={(value) => setQuery({ by: value })}
      />
      <SelectField
        label={words.andBy}
        value={second}
        options={[{ value: '', label: words.nothingElse }, ...keys.filter(({ value }) => value !== first)]}
        onChange={(value) => setQuery({ and: value })}
      />
    </div>
  );
}

type CampaignFieldProps = { readonly advertiserId: number; readonly campaignId: number | null };

/** Chooses a campaign of the advertiser, or all of them. */
function CampaignField({ advertiserId, campaignId }: CampaignFieldProps) {
  const campaigns = usePages<Campaign>('/v1/campaigns', { advertiserId, all: true, limit: CAMPAIGNS_MAX });
  const options = (campaigns.items ?? []).map(({ id, name }) => ({ value: String(id), label: name }));
  return (
    <SelectField
      label={words.campaign}
      value={campaignId === null ? '' : String(campaignId)}
      options={[{ value: '', label: words.everyCampaign }, ...options]}
      onChange={(campaign) => setQuery({ campaign })}
    />
  );
}
