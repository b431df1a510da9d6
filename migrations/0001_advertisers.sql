-- Who pays, for what, and how much is left.
-- Every amount is whole micros of the advertiser's currency (1 USD = 1 000 000).
-- Every writer of campaigns and ads takes the advertiser's row lock first: one order, no deadlock.

create table advertiser (
  id integer generated always as identity primary key,
  name text not null check (length(name) between 1 and 200),
  currency text not null check (currency ~ '^[A-Z]{3}$'),
  status text not null default 'active' check (status in ('active', 'paused')),
  -- The sum of the budget entries and the sum of the charges, kept apart and compared by `reconcile`.
  budget_micros bigint not null default 0,
  spent_micros bigint not null default 0 check (spent_micros >= 0),
  -- The last net: no statement, however wrong, leaves a negative budget behind.
  remaining_micros bigint generated always as (budget_micros - spent_micros) stored
    constraint advertiser_remaining_not_negative check (remaining_micros >= 0),
  -- The highest price that any of its ads ever had: with more than this left, no ad's budget is exhausted.
  max_price_micros bigint not null default 0,
  created_at timestamptz not null default now()
) with (fillfactor = 50); -- room for updates in place: each batch of clicks updates the row once

create table budget_entry (
  id bigint generated always as identity primary key,
  advertiser_id integer not null references advertiser (id),
  kind text not null check (kind in ('top_up', 'adjustment', 'credit')),
  amount_micros bigint not null check (amount_micros <> 0),
  -- A reference enters once: a retry after a lost reply adds nothing.
  reference text not null check (length(reference) between 1 and 200),
  click_id uuid, -- the click whose charge a credit gives back
  created_at timestamptz not null default statement_timestamp(), -- see `ledger.settled_at`
  unique (advertiser_id, reference),
  constraint budget_entry_credit_names_click check ((kind = 'credit') = (click_id is not null))
);
create index on budget_entry (click_id) where click_id is not null;

create table campaign (
  id integer generated always as identity primary key,
  advertiser_id integer not null references advertiser (id),
  name text not null check (length(name) between 1 and 200),
  -- Counted only where there is a cap to keep: the ledger knows what the others have spent.
  cap_micros bigint check (cap_micros > 0),
  spent_micros bigint not null default 0 check (spent_micros >= 0),
  -- Where people go while the budget is exhausted, instead of an ad that nobody pays for.
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
  -- What is left no longer pays for this ad. Never decides an outcome: see the handler.
  budget_exhausted boolean not null default false,
  created_at timestamptz not null default now(),
  foreign key (campaign_id, advertiser_id) references campaign (id, advertiser_id)
) with (fillfactor = 80);
create index on ad (advertiser_id);

-- Price and template may change; campaign and advertiser never: a click that is under way names all three.
create function ad_keeps_its_advertiser() returns trigger language plpgsql as $$
begin
  if (new.id, new.campaign_id, new.advertiser_id) is distinct from (old.id, old.campaign_id, old.advertiser_id) then
    raise exception 'An ad never changes its campaign or advertiser (ad %)', old.id using errcode = 'restrict_violation';
  end if;
  return new;
end $$;
create trigger ad_keeps_its_advertiser before update on ad
  for each row execute function ad_keeps_its_advertiser();
