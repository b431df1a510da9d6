-- One row per click with its outcome: the truth.

create type click_outcome as enum ('charged', 'over_budget', 'invalid');

-- Partitioned by click id, by day: a UUIDv7 begins with its time, so a day boundary is an id boundary,
-- inserts stay at the right edge of the index, and uniqueness holds over all partitions.
-- No default partition: see `ledger_window`.
create table ledger (
  click_id uuid primary key,
  nonce uuid, -- of an impression link; null for an evergreen link
  spool_id uuid, -- boot of the spool that accepted it; null for what has none
  sequence bigint,
  clicked_at timestamptz not null,
  -- The time of the statement, and not of its transaction's beginning: a lock that the transaction took before says since when rows may
  -- still appear, so that readers by this time know how far they are complete (ledger/settlement-watermark.ts).
  settled_at timestamptz not null default statement_timestamp(),
  charged_micros bigint not null,
  advertiser_id integer not null,
  campaign_id integer not null,
  ad_id integer not null,
  outcome click_outcome not null,
  reason text,
  constraint ledger_charge_fits_outcome check ((outcome = 'charged') = (charged_micros > 0) and charged_micros >= 0),
  constraint ledger_reason_fits_outcome check ((outcome = 'charged') = (reason is null))
) partition by range (click_id);
-- For exports by time of settlement: rows arrive in that order, so a block range index is next to free.
create index on ledger using brin (settled_at);

-- An impression link is paid for once: its nonce, and the click that spent it.
create table spent_nonce (
  nonce uuid primary key,
  click_id uuid not null
) partition by range (nonce);

-- The ledger's rows for clicks that were rejected. They stand here because what is wrong with them may be
-- the id itself: unreadable, or of a day that has no partition. `identity` is the record key where the record
-- has one of ours, else the click id, else the place and the bytes; so every copy of it meets the first.
create table dead_letter (
  id bigint generated always as identity primary key,
  identity text not null unique,
  record_key text,
  click_id uuid, -- null if it could not be read
  advertiser_id integer, -- likewise; as the record says, which may be wrong
  campaign_id integer,
  ad_id integer,
  nonce uuid,
  spool_id uuid,
  sequence bigint,
  reason text not null,
  detail text not null,
  raw bytea, -- null for a record without a value, and after a discard
  clicked_at timestamptz,
  settled_at timestamptz not null default statement_timestamp(), -- as in the ledger
  discarded_at timestamptz,
  -- Whether the spool counters hold it as rejected. What is no click of ours is kept and not counted.
  counted boolean not null
);
create index on dead_letter (spool_id, sequence);
create index on dead_letter (click_id);
create index on dead_letter (click_id) where spool_id is null;
create index on dead_letter (id) where discarded_at is null; -- those that wait

-- What was accepted and what was settled, by spool. Each batch appends (no hot row); a scheduled task merges.
create table spool_counter (
  id bigint generated always as identity primary key,
  spool_id uuid, -- null: clicks without a spool id
  accepted bigint not null default 0, -- a watermark's
  charged bigint not null default 0,
  over_budget bigint not null default 0,
  invalid bigint not null default 0,
  rejected bigint not null default 0, -- counts are negative where a redrive or a late key moves a click from one count to another
  -- The sequences that this row settles, a bit each, lowest first: those of a batch lie close together.
  first_sequence bigint not null default 0,
  settled bytea not null default ''
);
create table spool_total (
  spool_id uuid primary key, -- clicks without a spool id stand under the nil UUID
  accepted bigint not null default 0,
  charged bigint not null default 0,
  over_budget bigint not null default 0,
  invalid bigint not null default 0,
  rejected bigint not null default 0,
  sequences int8multirange not null default '{}'
);

-- Corrections that operators made to the number of clicks that a spool is known to have accepted. Rows are only ever added.
create table spool_correction (
  id bigint generated always as identity primary key,
  spool_id uuid not null,
  accepted_before bigint not null,
  accepted_after bigint not null check (accepted_after between 0 and 999999999999),
  reason text not null check (length(reason) between 1 and 500),
  corrected_by text not null default current_user,
  corrected_at timestamptz not null default now()
);
create index on spool_correction (spool_id);

-- The days whose partitions exist. An id outside is rejected, never waited for: a clock that runs ahead must
-- not stop the rest. The floor is raised long before a day is dropped; what the ledger has forgotten is never
-- charged again.
create table ledger_window (
  one boolean primary key default true check (one),
  click_floor timestamptz not null,
  click_ahead timestamptz not null,
  nonce_floor timestamptz not null,
  nonce_ahead timestamptz not null,
  floor_raised_at timestamptz not null default now()
);

-- Days that were dropped, carried forward as sums.
create table closed_day (
  day date not null,
  advertiser_id integer not null,
  campaign_id integer not null,
  outcome click_outcome not null,
  clicks bigint not null,
  charged_micros bigint not null,
  primary key (day, advertiser_id, campaign_id, outcome)
);
create table closed_day_spool (
  day date not null,
  spool_id uuid not null, -- nil UUID: clicks without a spool id
  outcome click_outcome not null,
  clicks bigint not null,
  primary key (day, spool_id, outcome)
);

-- Partitions belong to the owner of the tables. A role that maintains the ledger without owning it makes and drops them by these.
-- The partition of a day holds the ids from the day's first millisecond on, up to the next day's.
create function uuid_floor(day date) returns uuid language sql immutable as $$
  select (lpad(to_hex(extract(epoch from day)::bigint * 1000), 12, '0') || repeat('0', 20))::uuid
$$;
create function partition_of(parent text, day date) returns text language plpgsql immutable as $$
begin
  if parent not in ('ledger', 'spent_nonce') then
    raise exception 'Expected ledger or spent_nonce, got %', parent using errcode = 'invalid_parameter_value';
  end if;
  return parent || to_char(day, '_YYYYMMDD');
end $$;
-- Made apart and then attached: `partition of` would wait for every reader and hold up every charge meanwhile.
create function add_partition(parent text, day date) returns void language plpgsql security definer
  set search_path = public, pg_temp as $$
begin
  execute format('create table %I (like %I including all)', partition_of(parent, day), parent);
  execute format('alter table %I attach partition %I for values from (%L) to (%L)',
    parent, partition_of(parent, day), uuid_floor(day), uuid_floor(day + 1));
end $$;
-- Detaching waits for the transactions at work, and those that follow wait behind it: the caller sets a lock_timeout.
create function drop_partition(parent text, day date) returns void language plpgsql security definer
  set search_path = public, pg_temp as $$
begin
  execute format('alter table %I detach partition %I', parent, partition_of(parent, day));
  execute format('drop table %I', partition_of(parent, day));
end $$;
revoke execute on function add_partition(text, date), drop_partition(text, date) from public;
