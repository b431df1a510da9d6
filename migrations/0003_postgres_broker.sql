-- The Postgres broker: one table. A row is all that was published together, not one click: it is written,
-- claimed and settled as one. A claim is a row lock held by an open transaction, so whoever dies lets go at
-- once. A settled row stays for a while, so that it can be read again (`rewind`).
create table broker_chunk (
  id bigint generated always as identity primary key,
  published_at timestamptz not null default clock_timestamp(),
  record_count integer not null check (record_count > 0),
  payload bytea not null, -- see brokers/postgres/chunk.ts
  settled_at timestamptz
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
-- Written once and read once or twice: not worth compressing.
alter table broker_chunk alter column payload set storage external;
create index broker_chunk_waiting on broker_chunk (id) where settled_at is null;
