-- Checkpoints of Kafka partitions and Kinesis shards. They are in the database of the ledger, so that a restore to an earlier time restores
-- both, and records that are not settled any more are read again.
create table broker_checkpoint (
  source text not null, -- broker and topic or stream
  partition text not null,
  position text not null, -- the lowest position that is not settled, in the format of the event source
  moved_at timestamptz not null default now(),
  primary key (source, partition)
) with (fillfactor = 50);

