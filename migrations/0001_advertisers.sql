-- Advertisers with their budgets, campaigns and ads.
-- Amounts are whole micros of the advertiser's currency (1 USD = 1 000 000).
-- Every transaction that writes campaigns or ads locks the advertiser's row first, so that transactions cannot deadlock.

create table advertiser (
  id integer generated always as identity primary key,
  name text not null check (length(name) between 1 and 200),
  currency text not null check (currency ~ '^[A-Z]{3}$'),
  -- IANA name. Days of reports and statements begin at its midnight. It never changes: `click_rollup_day` is kept by it.
  time_zone text not null default 'UTC' check (now() at time zone time_zone is not null),
  status text not null default 'active' check (status in ('active', 'paused')),
  -- The sum of the budget entries and the sum of the charges. `reconcile` checks both.
  budget_micros bigint not null default 0,
  spent_micros bigint not null default 0 check (spent_micros >= 0),
  -- The constraint makes a wrong statement fail instead of leaving a negative budget.
  remaining_micros bigint generated always as (budget_micros - spent_micros) stored
    constraint advertiser_remaining_not_negative check (remaining_micros >= 0),
  -- The highest price that any of its ads has ever had. While more than this remains, the budget pays for every ad.
  max_price_micros bigint not null default 0,
  created_at timestamptz not null default now()
) with (fillfactor = 50); -- free space for heap-only updates: each batch of clicks updates the row once

create table budget_entry (
  id bigint generated always as identity primary key,
  advertiser_id integer not null references advertiser (id),
  kind text not null check (kind in ('top_up', 'adjustment', 'credit')),
  amount_micros bigint not null check (amount_micros <> 0),
  -- Unique for each advertiser, so that a retry after a lost reply adds nothing.
  reference text not null check (length(reference) between 1 and 200),
  click_id uuid, -- the click that a credit refunds
  created_at timestamptz not null default statement_timestamp(), -- see `ledger.settled_at`
  unique (advertiser_id, reference),
  constraint budget_entry_credit_names_click check ((kind = 'credit') = (click_id is not null))
);
create index on budget_entry (click_id) where click_id is not null;

create table campaign (
  id integer generated always as identity primary key,
  advertiser_id integer not null references advertiser (id),
  name text not null check (length(name) between 1 and 200),
  -- `spent_micros` is counted only for campaigns with a cap. For others, sum the charges in the ledger.
  cap_micros bigint check (cap_micros > 0),
  spent_micros bigint not null default 0 check (spent_micros >= 0),
  -- Visitors are redirected here while the budget is exhausted.
  fallback_url text,
  created_at timestamptz not null default now(),
  constraint campaign_within_cap check (spent_micros <= cap_micros),
  unique (id, advertiser_id)
) with (fillfactor = 50);
create index on campaign (advertiser_id);

create table ad (
  id integer generated always as identity primary key,
  campaign_id integer not null,
  advertiser_id integer not null,
  price_micros bigint not null check (price_micros between 1 and 1000000000000000),
  url_template text not null check (length(url_template) between 1 and 2000),
  status text not null default 'active' check (status in ('active', 'paused')),
  -- Whether the price exceeds the remaining budget or cap. It is a hint for ad servers and never decides an outcome.
  budget_exhausted boolean not null default false,
  created_at timestamptz not null default now(),
  foreign key (campaign_id, advertiser_id) references campaign (id, advertiser_id)
) with (fillfactor = 80);
create index on ad (advertiser_id);

-- Price and template of an ad can change, its campaign and advertiser cannot: clicks in flight contain all three ids.
create function ad_keeps_its_advertiser() returns trigger language plpgsql as $$
begin
  if (new.id, new.campaign_id, new.advertiser_id) is distinct from (old.id, old.campaign_id, old.advertiser_id) then
    raise exception 'An ad never changes its campaign or advertiser (ad %)', old.id using errcode = 'restrict_violation';
  end if;
  return new;
end $$;
create trigger ad_keeps_its_advertiser before update on ad
  for each row execute function ad_keeps_its_advertiser();
