-- The processes of Tollway that run: each ad server (one row for all its workers), processor and console writes its row every 2 s and deletes it
-- when it is stopped (ledger/operations/parts.ts). The row of a process that was killed stays, so that one sees what died, and the consoles delete it after
-- a day. Unlogged: after a crash of the database server the table is empty, and every process that runs writes its row again.
create unlogged table part (
  component text not null check (component in ('ad-server', 'processor', 'console')),
  instance text not null, -- host name and operations port
  version text not null,
  started_at timestamptz not null,
  reported_at timestamptz not null,
  problems text[] not null, -- why it is not ready; empty when it is
  warnings text[] not null,
  numbers jsonb not null, -- see ledger/operations/part-numbers.ts
  primary key (component, instance)
) with (fillfactor = 50);

alter table ledger_window add column maintained_at timestamptz; -- end of the last complete maintenance; null: none has ended yet
