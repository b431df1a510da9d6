import { query, setQuery } from '../../router.ts';
import { session } from '../../session.ts';
import { texts } from '../../texts.ts';
import { AdvertiserPicker } from '../../ui/advertiser-picker.tsx';
import { Button } from '../../ui/button.tsx';
import { NoAdvertiser, useAdvertiser } from '../../ui/chosen-advertiser.tsx';
import { clock } from '../../ui/clock.ts';
import { TextField } from '../../ui/form.tsx';
import { Page } from '../../ui/page.tsx';
import { Empty } from '../../ui/state.tsx';
import { dayIn } from '../reports/period.ts';
import { StatementPages } from './statement-pages.tsx';

const words = texts.statements;

/** The statement of a month, which is also what is printed. */
export function StatementsView() {
  const only = session.value?.advertiserIds?.length === 1 ? String(session.value.advertiserIds[0]) : null;
  const id = query.value.get('advertiser') || only;
  const chosen = useAdvertiser(id);
  const advertiser = chosen.data;
  const month =
    query.value.get('month') ?? dayIn(new Date(clock.peek()), advertiser?.timeZone ?? 'UTC').slice(0, 7);
  const actions = advertiser && (
    <Button look="primary" onClick={() => window.print()}>
      {words.print}
    </Button>
  );
  return (
    <Page title={advertiser ? words.of(advertiser.name) : words.title} lead={words.lead} actions={actions}>
      <section class="panel" aria-label={words.title}>
        <div class="filters">
          <AdvertiserPicker
            label={words.advertiser}
            placeholder={words.choose}
            chosen={advertiser}
            onChoose={(one) => setQuery({ advertiser: one ? String(one.id) : undefined })}
          />
          <TextField
            label={words.month}
            type="month"
            value={month}
            onChange={(value) => setQuery({ month: value || undefined })}
          />
        </div>
        {advertiser && <StatementPages advertiser={advertiser} month={month} />}
        {id !== null && advertiser === null && <NoAdvertiser chosen={chosen} />}
        {id === null && <Empty title={words.choose}>{words.chooseLead}</Empty>}
      </section>
    </Page>
  );
}
