-- The result of the latest reconciliation that a console ran by itself, once a minute: one row, none before the first one.
create table reconciliation (
  one boolean primary key default true check (one),
  checked_at timestamptz not null default statement_timestamp(), -- its end
  duration_ms integer not null check (duration_ms >= 0),
  balanced boolean not null,
  -- Clicks over all spools, as `reconcile` counts them.
  accepted bigint not null,
  charged bigint not null,
  over_budget bigint not null,
  invalid bigint not null,
  rejected bigint not null,
  unattributed bigint not null,
  -- Null: the broker did not answer, so it is not known which of the clicks that are not settled wait there.
  in_flight bigint,
  missing bigint,
  problem_count integer not null,
  problems text[] not null -- at most 20 of them
);
