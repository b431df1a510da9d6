-- How far Kafka's partitions and Kinesis' shards are settled. It stands beside the ledger on purpose: restored to an
-- earlier time together, they agree, and what is not in the books is read again by itself.
create table broker_checkpoint (
  source text not null, -- broker and topic or stream
  partition text not null,
  position text not null, -- the lowest that is not settled; its grammar is the source's
  moved_at timestamptz not null default now(),
  primary key (source, partition)
) with (fillfactor = 50);

