-- The ledger: one row for each click, with its outcome.

create type click_outcome as enum ('charged', 'over_budget', 'invalid');

-- Partitioned by click id, with a partition for each day. A UUIDv7 begins with its time, so a range of ids is a range of times: inserts
-- go to the right end of the index, and the primary key is unique over all partitions. There is no default partition: see `ledger_window`.
create table ledger (
  click_id uuid primary key,
  nonce uuid, -- of the impression link; null for an evergreen link
  spool_id uuid, -- the spool that accepted the click; null if its record had no key
  sequence bigint,
  clicked_at timestamptz not null,
  -- The time at which the transaction took the settlement lock, from which readers compute up to which time the rows are complete
  -- (ledger/settlement-watermark.ts). `COPY` gives it, because the function would run for each row.
  settled_at timestamptz not null default lock_settlement(),
  charged_micros bigint not null,
  advertiser_id integer not null,
  campaign_id integer not null,
  ad_id integer not null,
  outcome click_outcome not null,
  reason text,
  publisher text, -- of the link; null for a link without one
  constraint ledger_charge_fits_outcome check ((outcome = 'charged') = (charged_micros > 0) and charged_micros >= 0),
  constraint ledger_reason_fits_outcome check ((outcome = 'charged') = (reason is null))
) partition by range (click_id);
-- For exports by time of settlement. Rows are inserted in that order, so a block range index is small and cheap.
create index on ledger using brin (settled_at);

-- Spent nonces of impression links, each with its click: the first valid click spends the nonce, even if it is over budget. Partitioned by
-- month: a batch has nonces of many days, and each partition costs it a look-up to plan, and a table and an index to open.
create table spent_nonce (
  nonce uuid primary key,
  click_id uuid not null
) partition by range (nonce);

-- What the ad server recorded about the visitor of a click, kept for EVIDENCE_RETENTION_DAYS. In a table of its own, because it is deleted
-- sooner than the ledger, and reports do not need it. The charge inserts it with the row of the ledger, whose key keeps click ids unique.
-- A block range index finds a click in some milliseconds and costs an insert nearly nothing: see docs/decisions/0020.
create table click_evidence (
  click_id uuid not null,
  user_agent_id bigint, -- in `user_agent`
  published_at timestamptz, -- when the record that was settled was published to the broker; null if the broker does not tell it
  network text, -- /24 of an IPv4 address, /48 of an IPv6 address
  referrer_host text,
  sub_ids jsonb
) partition by range (click_id);
create index on click_evidence using brin (click_id uuid_minmax_multi_ops) with (pages_per_range = 64);

-- Clicks that arrived again after they were settled, for EVIDENCE_RETENTION_DAYS: see ledger/spools/seen-duplicates.ts. `sequences` is a bitmap that
-- begins at `first_sequence`.
create table seen_duplicate (
  spool_id uuid not null,
  first_sequence bigint not null,
  sequences bytea not null,
  seen_at timestamptz not null default statement_timestamp()
);
create index on seen_duplicate (spool_id, first_sequence);
create index on seen_duplicate (seen_at);

-- The texts of user agents, each once. `id` is computed from the text (ledger/charge/user-agents.ts), so that a text never gets another id.
create table user_agent (
  id bigint primary key,
  text text not null,
  last_day date not null -- the UTC day on which it was last inserted or confirmed; at most a day before its latest evidence
);
create index on user_agent (last_day);

-- Rejected records. They have their own table because the click id can be unreadable, or of a day without a partition. `identity` is the
-- record key if it names a spool and a sequence, else the click id, else the position in the broker and a hash of the bytes, so that all
-- copies of a record have the same identity.
create table dead_letter (
  id bigint generated always as identity primary key,
  identity text not null unique,
  record_key text,
  click_id uuid, -- null if it could not be read
  advertiser_id integer, -- this and the next columns: null if unreadable, else as in the record, which can be wrong
  campaign_id integer,
  ad_id integer,
  nonce uuid,
  publisher text,
  spool_id uuid,
  sequence bigint,
  reason text not null,
  detail text not null,
  raw bytea, -- null for a record without a value, and after a discard
  clicked_at timestamptz,
  settled_at timestamptz not null default lock_settlement(), -- see `ledger.settled_at`
  discarded_at timestamptz,
  -- Whether the spool counters count it as rejected. Foreign records, without a key of Tollway and without a click, are not counted.
  counted boolean not null
);
create index on dead_letter (spool_id, sequence);
create index on dead_letter (click_id);
create index on dead_letter (click_id) where spool_id is null;
create index on dead_letter (id) where discarded_at is null;
create index on dead_letter (nonce) where nonce is not null; -- to find the rejected click of a link

-- Dead letters that were redriven, without their records. A redrive that is rejected again keeps its dead letter and is not recorded.
create table dead_letter_redrive (
  dead_letter_id bigint primary key,
  click_id uuid, -- null if the record is unreadable
  reason text not null, -- of the rejection
  rejected_at timestamptz not null,
  outcome text not null, -- of the redrive
  redriven_by text not null default current_user,
  redriven_at timestamptz not null default statement_timestamp()
);
create index on dead_letter_redrive (click_id);

-- Counts of accepted and settled clicks by spool. Each batch appends rows, so that batches do not wait for one row; a scheduled task merges
-- them into `spool_total`.
create table spool_counter (
  id bigint generated always as identity primary key,
  spool_id uuid, -- null for clicks without a spool id
  accepted bigint not null default 0, -- the watermark
  charged bigint not null default 0,
  over_budget bigint not null default 0,
  invalid bigint not null default 0,
  rejected bigint not null default 0, -- counts are negative where a redrive or a late key moves a click to another count
  -- The settled sequences as a bitmap that begins at `first_sequence`: the sequences of a batch lie close together.
  first_sequence bigint not null default 0,
  settled bytea not null default ''
);
create table spool_total (
  spool_id uuid primary key, -- the nil UUID for clicks without a spool id
  accepted bigint not null default 0,
  charged bigint not null default 0,
  over_budget bigint not null default 0,
  invalid bigint not null default 0,
  rejected bigint not null default 0,
  sequences int8multirange not null default '{}'
);

-- Corrections by operators of the number of clicks that a spool has accepted. Rows are never changed or deleted.
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

-- The range of ids that have a partition. A click with an id outside of it is rejected, not retried, so that an ad server with a wrong
-- clock does not block other clicks. The floor is raised an hour before a day is dropped, so a click of a dropped day is never charged
-- again.
create table ledger_window (
  one boolean primary key default true check (one),
  click_floor timestamptz not null,
  click_ahead timestamptz not null,
  nonce_floor timestamptz not null,
  nonce_ahead timestamptz not null,
  evidence_floor timestamptz, -- evidence of clicks before it is not kept; null: no evidence is kept
  floor_raised_at timestamptz not null default now(),
  -- All rows of the ledger that were settled at or after this time are still there: later than the last one of the dropped days.
  settled_floor timestamptz not null default '-infinity'
);

-- Sums of the days that were dropped from the ledger.
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
  spool_id uuid not null, -- the nil UUID for clicks without a spool id
  outcome click_outcome not null,
  clicks bigint not null,
  primary key (day, spool_id, outcome)
);

-- Only the owner of a table can add and drop partitions. These functions let other roles do so, to maintain the ledger.
-- A partition has the ids from the first millisecond of its first day to the last one of its last day.
create function uuid_floor(day date) returns uuid language sql immutable as $$
  select (lpad(to_hex(extract(epoch from day)::bigint * 1000), 12, '0') || repeat('0', 20))::uuid
$$;
-- The first day of the partition that has a day, and of the one after it.
create function partition_bounds(parent text, day date) returns date[] language plpgsql immutable as $$
begin
  if parent = 'spent_nonce' then
    return array[date_trunc('month', day::timestamp)::date, (date_trunc('month', day::timestamp) + interval '1 month')::date];
  elsif parent in ('ledger', 'click_evidence') then
    return array[day, day + 1];
  end if;
  raise exception 'Expected ledger, spent_nonce or click_evidence, got %', parent using errcode = 'invalid_parameter_value';
end $$;
-- The name of the partition that has a day.
create function partition_of(parent text, day date) returns text language plpgsql immutable set search_path = public, pg_temp as $$
begin
  return parent || to_char((partition_bounds(parent, day))[1], '_YYYYMMDD');
end $$;
-- Creates a table and then attaches it. `create table … partition of` would wait for all readers, and charges would queue behind it.
-- It is analyzed whenever it has doubled: by default, after each tenth more, which takes PostgreSQL more CPU time than the rollup.
create function add_partition(parent text, day date) returns void language plpgsql security definer
  set search_path = public, pg_temp as $$
begin
  execute format('create table %I (like %I including all) with (autovacuum_analyze_scale_factor = 0.5)', partition_of(parent, day), parent);
  execute format('alter table %I attach partition %I for values from (%L) to (%L)',
    parent, partition_of(parent, day),
    uuid_floor((partition_bounds(parent, day))[1]), uuid_floor((partition_bounds(parent, day))[2]));
end $$;
-- The detach waits for open transactions, and new ones queue behind it, so the caller sets `lock_timeout`.
create function drop_partition(parent text, day date) returns void language plpgsql security definer
  set search_path = public, pg_temp as $$
begin
  execute format('alter table %I detach partition %I', parent, partition_of(parent, day));
  execute format('drop table %I', partition_of(parent, day));
end $$;
-- Deletes the evidence of a day at once. Charges of clicks of that day wait for the lock, so the caller sets `lock_timeout`.
create function erase_evidence(day date) returns void language plpgsql security definer
  set search_path = public, pg_temp as $$
begin
  execute format('truncate %I', partition_of('click_evidence', day));
end $$;
revoke execute on function add_partition(text, date), drop_partition(text, date), erase_evidence(date) from public;
