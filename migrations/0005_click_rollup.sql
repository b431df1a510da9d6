-- Sums of the ledger for reports and statements, kept when the days of the ledger are dropped.
-- `rollUp` (ledger/reports/rollup.ts) adds what was settled since its last run; a credit is added by the transaction that enters it.

-- As `sum`, but its state and its result are `bigint`, not `numeric`: half the time for many groups, and less to send for parallel workers. A sum
-- that exceeds `bigint` fails (`numeric_value_out_of_range`).
create aggregate bigint_sum(bigint) (sfunc = int8pl, stype = bigint, combinefunc = int8pl, parallel = safe);

-- By quarter of an hour, because every UTC offset in use is a multiple of it: a day of any time zone is a sum of these rows.
create table click_rollup (
  quarter timestamptz not null, -- the quarter of an hour of the clicks, by its beginning
  advertiser_id integer not null,
  campaign_id integer not null,
  ad_id integer not null,
  publisher text not null, -- '' for clicks without a publisher
  outcome click_outcome not null,
  reason text not null, -- '' for charged clicks
  clicks bigint not null,
  charged_micros bigint not null,
  credited_clicks bigint not null default 0,
  credited_micros bigint not null default 0,
  primary key (advertiser_id, quarter, campaign_id, ad_id, publisher, outcome, reason)
);
create index on click_rollup using brin (quarter);

-- The same by day of the advertiser's time zone, for reports of months.
create table click_rollup_day (
  day date not null,
  advertiser_id integer not null,
  campaign_id integer not null,
  ad_id integer not null,
  publisher text not null,
  outcome click_outcome not null,
  reason text not null,
  clicks bigint not null,
  charged_micros bigint not null,
  credited_clicks bigint not null default 0,
  credited_micros bigint not null default 0,
  primary key (advertiser_id, day, campaign_id, ad_id, publisher, outcome, reason)
);
create index on click_rollup_day (day);

-- Every click that was settled before `rolled_to` is in the rollup, and no other.
create table click_rollup_state (
  one boolean primary key default true check (one),
  rolled_to timestamptz not null
);
insert into click_rollup_state (rolled_to) values (settlement_watermark());

-- Days before yesterday that clicks were settled for, by transaction: the rollup looks at today and yesterday by itself, and at these.
create table click_rollup_late_day (
  day date not null,
  settled_at timestamptz not null default lock_settlement() -- as in the ledger
);

-- The block range indexes of a day cover new blocks only after this. They belong to the owner of the tables. Of a day that still grows, only
-- full ranges are summarized: otherwise each click that is inserted into the last one would update its summary. A search reads that range.
create function summarize_day(day date) returns void language plpgsql security definer
  set search_path = pg_catalog, public, pg_temp as $$
declare
  found record;
  block bigint;
begin
  for found in
    select index.oid::regclass as name, pg_relation_size(indrelid) / current_setting('block_size')::bigint as blocks,
      coalesce((select option_value from pg_options_to_table(index.reloptions) where option_name = 'pages_per_range'), '128')::bigint as range
    from pg_index join pg_class index on index.oid = indexrelid join pg_am on pg_am.oid = relam
    where amname = 'brin' and indrelid in (
      to_regclass(format('public.%I', public.partition_of('ledger', day))),
      to_regclass(format('public.%I', public.partition_of('click_evidence', day)))
    )
  loop
    if day < (now() at time zone 'UTC')::date then
      perform brin_summarize_new_values(found.name);
      continue;
    end if;
    -- From the last full range down to the first that is summarized already.
    block := (found.blocks / found.range - 1) * found.range;
    while block >= 0 and brin_summarize_range(found.name, block) > 0 loop
      block := block - found.range;
    end loop;
  end loop;
end $$;
revoke execute on function summarize_day(date) from public;
