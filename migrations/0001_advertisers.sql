-- Advertisers with their budgets, campaigns and ads.
-- Amounts are whole micros of the advertiser's currency (1 USD = 1 000 000).
-- Every transaction that writes campaigns or ads locks the advertiser's row first, so that transactions cannot deadlock.

-- The first instant of a day in a time zone. A change of the offset can repeat the hour after midnight (Azores, Cuba): PostgreSQL then
-- takes the second midnight, and the day has begun an hour earlier.
create function day_start(day date, time_zone text) returns timestamptz language sql immutable parallel safe as $$
  select case when ((midnight - interval '1 hour') at time zone time_zone)::date = day then midnight - interval '1 hour' else midnight end
  from (select day::timestamp at time zone time_zone as midnight) start
$$;

-- The day of an instant in a time zone; null if the server does not know the zone. It can lack the zone of an advertiser after a move of the
-- database: what is read for all advertisers must not fail then.
create function known_day(instant timestamptz, time_zone text) returns date language plpgsql stable as $$
begin
  return (instant at time zone time_zone)::date;
exception when invalid_parameter_value then
  return null;
end $$;

-- The settlement clock: the highest settlement watermark so far (ledger/settlement-watermark.ts), in Unix ms. A sequence, because a statement
-- reads its present value, whatever the snapshot of its transaction.
create sequence settlement_clock minvalue 0 start 0;
-- The server's clock when the settlement clock was set.
create sequence settlement_clock_set_at minvalue 0 start 0;

-- The clock of the server, in Unix ms.
create function clock_ms() returns bigint language sql volatile as $$
  select floor(extract(epoch from clock_timestamp()) * 1000)::bigint
$$;

-- The advisory lock of a settling transaction has two keys: 826366246 plus the upper bits of the time in ms, and this one, its lower 32 bits.
create function settlement_key(ms bigint) returns integer language sql immutable as $$
  select ((ms & 4294967295) - 2147483648)::integer
$$;

-- The time with which a transaction that begins now stamps its rows, if no watermark is read before it takes its lock.
create function settlement_now() returns timestamptz language sql volatile
  security definer set search_path = pg_catalog, pg_temp as $$
  select to_timestamp(greatest(public.clock_ms(), last_value) / 1000.0) from public.settlement_clock
$$;

-- Takes the settlement lock of a transaction, if it does not hold it yet, and returns the time of its rows: at least that of the lock, and at
-- least each watermark that was read before the lock. The setting is the memory of the transaction, and a savepoint that is rolled back
-- forgets it with its lock. It is a number: the text of a time can mean another one, because zones share abbreviations.
create function lock_settlement() returns timestamptz language plpgsql volatile
  security definer set search_path = pg_catalog, pg_temp as $$
declare
  settled_ms bigint := nullif(current_setting('tollway.settled_ms', true), '');
  locked_ms bigint;
begin
  if settled_ms is null then
    select greatest(public.clock_ms(), last_value) into locked_ms from public.settlement_clock;
    perform pg_advisory_xact_lock_shared(826366246 + (locked_ms >> 32)::integer, public.settlement_key(locked_ms));
    -- Again, because a watermark can have been read between the first look and the lock.
    select greatest(locked_ms, last_value) into settled_ms from public.settlement_clock;
    perform set_config('tollway.settled_ms', settled_ms::text, true);
  end if;
  return to_timestamp(settled_ms / 1000.0);
end $$;

-- The settlement watermark. It sets the settlement clock first: to the server's clock or, while that one is behind because it was set back,
-- on by half of the time since the call before, so that the two meet again. A transaction that may not write leaves the settlement clock as it
-- is.
create function settlement_watermark() returns timestamptz language plpgsql volatile
  security definer set search_path = pg_catalog, pg_temp as $$
declare
  now_ms bigint := public.clock_ms();
  elapsed_ms bigint;
  watermark_ms bigint;
begin
  -- One at a time: the settlement clock must not go back.
  perform pg_advisory_xact_lock(hashtext('tollway settlement clock'));
  select last_value into watermark_ms from public.settlement_clock;
  if not current_setting('transaction_read_only')::boolean then
    select least(now_ms - last_value, 10000) into elapsed_ms from public.settlement_clock_set_at;
    watermark_ms := setval('public.settlement_clock', greatest(now_ms, watermark_ms + greatest(elapsed_ms / 2, 1)));
    perform setval('public.settlement_clock_set_at', now_ms);
    -- Files that end at the watermark stay: a crash must not take back the settlement clock, nor what they have.
    if current_setting('synchronous_commit') = 'off' then perform set_config('synchronous_commit', 'on', true); end if;
  end if;
  -- At most the time of the oldest lock. Until the year 2527, locks have these first keys.
  return to_timestamp(least(watermark_ms, (
    select min(((classid::bigint - 826366246) << 32) + ((objid::bigint + 2147483648) & 4294967295)) from pg_locks
    where locktype = 'advisory' and classid::bigint between 826366246 and 826366246 + 4095 and objsubid = 2
      and database = (select oid from pg_database where datname = current_database())
  )) / 1000.0);
end $$;

create table advertiser (
  id integer generated always as identity primary key,
  name text not null check (length(name) between 1 and 200),
  currency text not null check (currency ~ '^[A-Z]{3}$'),
  -- IANA name. Days of reports and statements begin at its midnight. It never changes: `click_rollup_day` is kept by it.
  time_zone text not null default 'UTC',
  -- An archived advertiser is paused and left out of lists, metrics and alerts. The ledger, reports and reconciliation keep it.
  status text not null default 'active' check (status in ('active', 'paused', 'archived')),
  -- Made by a load test: left out of lists, metrics and alerts.
  is_test boolean not null default false,
  -- The sum of the budget entries and the sum of the charges. `reconcile` checks both.
  budget_micros bigint not null default 0,
  spent_micros bigint not null default 0 check (spent_micros >= 0),
  -- The constraint makes a wrong statement fail instead of leaving a negative budget.
  remaining_micros bigint generated always as (budget_micros - spent_micros) stored
    constraint advertiser_remaining_not_negative check (remaining_micros >= 0),
  -- The highest price that any of its ads has ever had. While more than this remains, the budget pays for every ad.
  max_price_micros bigint not null default 0,
  -- Shares of the level at which `budget.low` is sent, in percent, descending. The level is what remained after the latest top-up or adjustment.
  low_budget_percents integer[] not null default '{20,5}',
  budget_level_micros bigint not null default 0,
  -- The highest threshold that was not reached since then: a charge compares what remains with it. Null: none is left.
  low_budget_micros bigint,
  -- Whether the budget pays for none of the ads that it can be spent on: see ledger/accounts/budget-flag.ts.
  budget_exhausted boolean not null default false,
  created_at timestamptz not null default now()
) with (fillfactor = 50); -- free space for heap-only updates: each batch of clicks updates the row once

-- Refuses a time zone that the server does not know. A trigger, not a constraint: each charge updates the row, and must succeed also after a move
-- to a server that lacks the zone.
create function check_time_zone() returns trigger language plpgsql as $$
begin
  perform now() at time zone new.time_zone;
  return new;
end $$;
create trigger check_time_zone before insert or update of time_zone on advertiser for each row execute function check_time_zone();

create table budget_entry (
  id bigint generated always as identity primary key,
  advertiser_id integer not null references advertiser (id),
  kind text not null check (kind in ('top_up', 'adjustment', 'credit')),
  amount_micros bigint not null check (amount_micros <> 0),
  -- Unique for each advertiser, so that a retry after a lost reply adds nothing.
  reference text not null check (length(reference) between 1 and 200),
  click_id uuid, -- the click that a credit refunds
  created_at timestamptz not null default lock_settlement(), -- see `ledger.settled_at`
  unique (advertiser_id, reference),
  constraint budget_entry_credit_names_click check ((kind = 'credit') = (click_id is not null))
);
create index on budget_entry (advertiser_id, id); -- for pages of lists
create index on budget_entry (click_id) where click_id is not null;

create table campaign (
  id integer generated always as identity primary key,
  advertiser_id integer not null references advertiser (id),
  name text not null check (length(name) between 1 and 200),
  status text not null default 'active' check (status in ('active', 'paused', 'archived')),
  -- Clicks before the start, and from the end on, are `invalid: not_running`. The ad server decides by the time of the click.
  starts_at timestamptz,
  ends_at timestamptz,
  -- `spent_micros` is counted only for campaigns with a cap, else 0. Setting the first cap computes it: see ledger/accounts/campaign-spend.ts.
  cap_micros bigint check (cap_micros > 0),
  spent_micros bigint not null default 0 check (spent_micros >= 0),
  -- The most that the clicks of one day may cost, in the advertiser's time zone. `campaign_day` has what each day spent.
  daily_cap_micros bigint check (daily_cap_micros > 0),
  -- The first day that had a daily cap. It stays when the daily cap is removed: days before may keep theirs.
  daily_cap_since date,
  -- The plan by which the daily cap is to be spent, see `campaign_today`. With `hold`, visitors are sent to the fallback URL while the campaign
  -- is ahead of it.
  pacing text not null default 'none' check (pacing in ('none', 'even', 'rest')),
  hold boolean not null default false,
  -- Visitors are redirected here while the budget is exhausted.
  fallback_url text,
  external_id text check (length(external_id) between 1 and 100), -- the id that another system gave it
  -- Whether the rest of the cap pays for none of its active ads, and the latest day on which the rest of the daily cap did not.
  cap_reached boolean not null default false,
  daily_cap_reached_on date,
  -- The transitions are events: see ledger/accounts/campaign-phases.ts. It can be late. The time of a click decides whether it is charged.
  phase text not null default 'running' check (phase in ('scheduled', 'running', 'ended')),
  created_at timestamptz not null default now(),
  constraint campaign_within_cap check (spent_micros <= cap_micros),
  constraint campaign_daily_cap_since check (daily_cap_micros is null or daily_cap_since is not null),
  constraint campaign_pacing_has_daily_cap check (pacing = 'none' or daily_cap_micros is not null),
  constraint campaign_hold_has_pacing_and_fallback check (not hold or (pacing <> 'none' and fallback_url is not null)),
  constraint campaign_ends_after_start check (ends_at > starts_at),
  -- Programs read and write the years 1970 to 9999. `least` and `greatest` ignore nulls.
  constraint campaign_dates_in_range
    check (least(starts_at, ends_at) >= '1970-01-01 00:00:00+00' and greatest(starts_at, ends_at) < '10000-01-01 00:00:00+00'),
  unique (id, advertiser_id),
  unique (advertiser_id, external_id)
) with (fillfactor = 50);
create index on campaign (advertiser_id, id);
create index on campaign (starts_at) where phase = 'scheduled';
create index on campaign (ends_at) where phase <> 'ended';

-- What a campaign spent on a day, in the advertiser's time zone. A day without a row, from `campaign.daily_cap_since` on, has spent nothing
-- and has the campaign's daily cap. Earlier days have no daily cap.
create table campaign_day (
  campaign_id integer not null references campaign (id),
  day date not null,
  cap_micros bigint check (cap_micros > 0), -- null: no daily cap on this day, and `spent_micros` is not counted
  spent_micros bigint not null default 0 check (spent_micros >= 0),
  -- The hour of the latest charge, and what had been spent before it. The plan `rest` starts from there.
  charged_hour timestamptz,
  spent_before_hour_micros bigint,
  constraint campaign_day_within_cap check (spent_micros <= cap_micros),
  primary key (campaign_id, day)
) with (fillfactor = 50);

create table ad (
  id integer generated always as identity primary key,
  campaign_id integer not null,
  advertiser_id integer not null,
  -- What people call it. Nothing but lists, reports and the console reads it.
  name text check (length(name) between 1 and 200),
  -- For searches: lower() takes as long as the rest of a search of all ads.
  name_lower text generated always as (lower(name)) stored,
  price_micros bigint not null check (price_micros between 1 and 1000000000000000),
  url_template text not null check (length(url_template) between 1 and 2000),
  -- Names of the query parameters of clicks that are added to the destination, such as `utm_*`.
  pass_parameters text[] not null default '{}',
  status text not null default 'active' check (status in ('active', 'paused', 'archived')),
  -- Until when the price exceeds the remaining budget or cap: null if it does not, the end of the day for a daily cap, else `infinity`. It
  -- is a hint for ad servers and never decides an outcome.
  exhausted_until timestamptz,
  -- Whether the ad is exhausted only because its campaign is ahead of its plan. Clicks that ad servers hold are not charged.
  held boolean not null default false,
  created_at timestamptz not null default now(),
  foreign key (campaign_id, advertiser_id) references campaign (id, advertiser_id)
) with (fillfactor = 80);
create index on ad (advertiser_id, id);
create index on ad (campaign_id, id);
create index on ad (id) where status <> 'active';

-- The present day of each campaign with a daily cap, and its plan: the line from `plan_spent_micros` at `plan_from` to the cap at `plan_to`.
-- A campaign whose time zone the server does not know is left out.
-- `even` is one line over the day, or over the part of it between the start and the end of the campaign; `rest` starts again at each hour
-- from what is spent then. The campaign is ahead of its plan, and held with `hold`, until `ahead_until`: when the line reaches what is
-- spent, or when `rest` starts again.
create view campaign_today as
  select campaign.id as campaign_id, campaign.advertiser_id, today.day, today.begins_at, today.ends_at,
    campaign.daily_cap_micros as cap_micros, today.spent_micros, campaign.pacing, campaign.hold,
    plan.plan_from, plan.plan_spent_micros, plan.plan_to,
    case when today.spent_micros > plan.plan_spent_micros then least(
      plan.plan_from + make_interval(secs => extract(epoch from plan.plan_to - plan.plan_from)::float8
        * (today.spent_micros - plan.plan_spent_micros) / (campaign.daily_cap_micros - plan.plan_spent_micros)),
      case when campaign.pacing = 'rest' then today.hour + interval '1 hour' end
    ) end as ahead_until
  from campaign join advertiser on advertiser.id = campaign.advertiser_id
  cross join lateral (select known_day(now(), advertiser.time_zone) as date offset 0) local
  left join campaign_day on campaign_day.campaign_id = campaign.id and campaign_day.day = local.date
  cross join lateral (
    select local.date as day, day_start(local.date, advertiser.time_zone) as begins_at,
      day_start(local.date + 1, advertiser.time_zone) as ends_at, date_trunc('hour', now(), 'UTC') as hour,
      coalesce(campaign_day.spent_micros, 0) as spent_micros
  ) today
  left join lateral (
    select starts.plan_from,
      case
        when campaign.pacing = 'even' then 0
        when campaign_day.charged_hour >= today.hour then campaign_day.spent_before_hour_micros
        else today.spent_micros
      end as plan_spent_micros,
      greatest(starts.plan_from, least(today.ends_at, campaign.ends_at)) as plan_to
    from (
      select greatest(today.begins_at, campaign.starts_at, case when campaign.pacing = 'rest' then today.hour end) as plan_from
    ) starts
  ) plan on campaign.pacing <> 'none'
  where campaign.daily_cap_micros is not null and local.date is not null;

-- Name, price and template of an ad can change, its campaign and advertiser cannot: clicks in flight contain all three ids.
create function ad_keeps_its_advertiser() returns trigger language plpgsql as $$
begin
  if (new.id, new.campaign_id, new.advertiser_id) is distinct from (old.id, old.campaign_id, old.advertiser_id) then
    raise exception 'An ad never changes its campaign or advertiser (ad %)', old.id using errcode = 'restrict_violation';
  end if;
  return new;
end $$;
create trigger ad_keeps_its_advertiser before update on ad
  for each row execute function ad_keeps_its_advertiser();
