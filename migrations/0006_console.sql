-- The control plane: API keys, the audit log, stored answers of the HTTP API, and webhooks.

create table api_key (
  id integer generated always as identity primary key,
  name text not null check (length(name) between 1 and 200),
  role text not null check (role in ('admin', 'manager', 'finance', 'viewer')),
  advertiser_ids integer[] check (cardinality(advertiser_ids) > 0), -- null: all advertisers
  secret_hash bytea not null check (length(secret_hash) = 32), -- SHA-256 of the random part of the key
  created_at timestamptz not null default now(),
  expires_at timestamptz, -- null: never
  revoked_at timestamptz,
  last_used_at timestamptz, -- at most a minute before the latest use
  constraint api_key_admin_has_all_advertisers check (role <> 'admin' or advertiser_ids is null)
);

-- The answer to a POST with an Idempotency-Key, written in the transaction of its change.
create table api_answer (
  api_key_id integer not null references api_key (id),
  idempotency_key text not null check (length(idempotency_key) between 1 and 255),
  request_hash bytea not null check (length(request_hash) = 32), -- SHA-256 of method, path and body
  status smallint not null,
  headers jsonb not null,
  body text not null,
  created_at timestamptz not null default now(),
  primary key (api_key_id, idempotency_key)
);
create index on api_answer (created_at);

-- Who changed what. Only `write_audit_entry` inserts rows, and no role can change or delete them: see migrations/0007_audit.sql.
create table audit_entry (
  id bigint generated always as identity primary key,
  at timestamptz not null default clock_timestamp(),
  actor_type text not null check (actor_type in ('key', 'cli', 'system', 'database')),
  actor text not null, -- id of the API key, name of the user of the command line, name of the component, or database role
  actor_name text, -- of the API key at that time
  actor_role text, -- of the API key at that time
  action text not null, -- such as `campaign.update`
  subject text not null, -- id of what was changed
  advertiser_id integer, -- null if it belongs to no advertiser
  before jsonb, -- values of the changed columns; null for something new
  after jsonb -- null for something deleted
);
create index on audit_entry (advertiser_id, id);
create index on audit_entry (at);

-- Targets of webhooks.
create table webhook (
  id integer generated always as identity primary key,
  url text not null check (length(url) between 1 and 2000),
  event_types text[] not null default '{}', -- empty: all
  advertiser_id integer references advertiser (id), -- null: events of all advertisers, and those of no advertiser
  status text not null default 'active' check (status in ('active', 'paused', 'archived')),
  secret text not null, -- `whsec_` and base64, see the Standard Webhooks specification
  previous_secret text, -- signs too until `previous_secret_until`
  previous_secret_until timestamptz,
  created_at timestamptz not null default now(),
  constraint webhook_previous_secret_ends check ((previous_secret is null) = (previous_secret_until is null))
);

-- How far the deliveries of a webhook are. Apart from `webhook`, because it changes with every attempt.
create table webhook_progress (
  webhook_id integer primary key references webhook (id),
  failures integer not null default 0, -- consecutive rounds of attempts that failed
  failing_since timestamptz, -- the first of them; null while the target answers
  retry_at timestamptz not null default '-infinity', -- nothing is sent before this time
  leased_by uuid, -- the lease of the console process that sends, until `leased_until`
  leased_until timestamptz not null default '-infinity',
  served_advertiser integer not null default -1 -- the advertiser that was served last; the next lease begins with those above it
) with (fillfactor = 50);

-- The outbox: transitions, each inserted by the transaction that caused it. Of one advertiser, the ids are in the order of the commits,
-- because the transaction holds the advertiser's lock.
create table webhook_event (
  id bigint generated always as identity primary key,
  type text not null,
  advertiser_id integer, -- null: of no advertiser
  data jsonb not null,
  occurred_at timestamptz not null default statement_timestamp()
);
create index on webhook_event (advertiser_id, id);
create index on webhook_event (occurred_at);

-- One row for each event and each webhook that was subscribed to it, inserted with the event.
create table webhook_delivery (
  webhook_id integer not null references webhook (id),
  event_id bigint not null references webhook_event (id) on delete cascade,
  advertiser_id integer, -- of the event
  status text not null default 'pending' check (status in ('pending', 'delivered', 'failed')),
  queued_at timestamptz not null default statement_timestamp(), -- when the event occurred, or the latest replay
  attempts integer not null default 0,
  next_attempt_at timestamptz not null default statement_timestamp(),
  expires_at timestamptz, -- three days after the first attempt since `queued_at`; null before it
  finished_at timestamptz,
  primary key (webhook_id, event_id)
) with (fillfactor = 80);
-- Of one webhook and one advertiser, only the first pending delivery may be sent. 0 stands for no advertiser.
create index webhook_delivery_pending on webhook_delivery (webhook_id, coalesce(advertiser_id, 0), event_id) where status = 'pending';
create index on webhook_delivery (event_id);

-- The log of attempts.
create table webhook_attempt (
  id bigint generated always as identity primary key,
  webhook_id integer not null,
  event_id bigint not null,
  at timestamptz not null default clock_timestamp(),
  duration_ms integer not null,
  status_code integer, -- null if the target gave no answer
  error text, -- why the attempt failed; null after a success
  foreign key (webhook_id, event_id) references webhook_delivery (webhook_id, event_id) on delete cascade
);
create index on webhook_attempt (webhook_id, event_id, id);

-- Conditions of the whole installation whose transitions are events.
create table webhook_state (
  one boolean primary key default true check (one),
  dead_letters_waiting boolean not null default false,
  out_of_balance boolean not null default false
);
insert into webhook_state default values;
