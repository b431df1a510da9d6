-- The table of the Postgres broker. A row is a chunk: all records that were published together. It is written, claimed and settled as a
-- whole. A claim is a row lock of an open transaction, so the claim of a processor that dies is released at once. Settled rows are kept
-- for BROKER_RETENTION_DAYS, so that `rewind` can read them again.
create table broker_chunk (
  id bigint generated always as identity primary key,
  published_at timestamptz not null default clock_timestamp(),
  record_count integer not null check (record_count > 0),
  payload bytea not null, -- see brokers/postgres/chunk.ts
  settled_at timestamptz
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
-- Not compressed, because a chunk is written once and read once or twice.
alter table broker_chunk alter column payload set storage external;
create index broker_chunk_waiting on broker_chunk (id) where settled_at is null;
