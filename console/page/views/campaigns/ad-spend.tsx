import type * as z from 'zod';
import type { Report } from '../../../api/routes/reports.ts';
import { sumAmounts } from '../../amounts.ts';
import type { Ad } from '../../entities.ts';
import { formatAmount, formatCount } from '../../format.ts';
import { useResource } from '../../resource.ts';
import { texts } from '../../texts.ts';
import { clock } from '../../ui/clock.ts';
import { Panel } from '../../ui/page.tsx';
import { Loaded } from '../../ui/state.tsx';
import { Amount, Stat } from '../../ui/values.tsx';
import { addDays, wallTimeOf } from '../../zone-time.ts';

type ReportData = z.input<typeof Report>;
type Rows = ReportData['rows'];

const words = texts.ads.spend;
/** Days of the sums, today included. */
const DAYS = 30;
/** Time between two reads, in ms. */
const RELOAD_MS = 5_000;

/** What an ad was clicked and charged, today and in the last days of the advertiser's time zone; and what of it is left after credits. */
export function AdSpend({ ad, zone }: { readonly ad: Ad; readonly zone: string }) {
  const today = wallTimeOf(new Date(clock.value).toISOString(), zone).day;
  const { advertiserId, id: adId, currency } = ad;
  const since = addDays(today, 1 - DAYS);
  const report = useResource<ReportData>(
    '/v1/reports',
    { since, by: ['day', 'outcome'], advertiserId, adId },
    RELOAD_MS,
  );
  return (
    <Panel title={words.title} note={`${texts.units.asCharged} · ${texts.units.zone(zone)}`}>
      <Loaded resource={report}>
        {({ rows }) => (
          <dl class="stats">
            <Spent label={words.today} rows={rows.filter(({ day }) => day === today)} currency={currency} />
            <Spent label={words.days(DAYS)} rows={rows} currency={currency} />
          </dl>
        )}
      </Loaded>
    </Panel>
  );
}

type SpentProps = { readonly label: string; readonly rows: Rows; readonly currency: string };

function Spent({ label, rows, currency }: SpentProps) {
  const charged = rows.filter(({ outcome }) => outcome === 'charged');
  const amount = sumAmounts(charged.map((row) => row.charged));
  const corrected = sumAmounts(charged.map((row) => row.corrected));
  const [all, paid] = [clicksOf(rows), clicksOf(charged)];
  return (
    <Stat
      label={label}
      value={<Amount value={amount} currency={currency} />}
      sub={
        <>
          {words.clicks(formatCount(paid), formatCount(all - paid))}
          {corrected !== amount && (
            <span class="sub">{words.corrected(`${formatAmount(corrected, currency)} ${currency}`)}</span>
          )}
        </>
      }
    />
  );
}

const clicksOf = (rows: Rows) => rows.reduce((sum, { clicks }) => sum + clicks, 0);
