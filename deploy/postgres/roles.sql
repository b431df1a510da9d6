-- Roles for a database that only Tollway uses, each with the privileges that its component needs. Run this script once as a superuser in
-- that database, before the first migration. Running it again changes nothing:
--
--     psql "$ADMIN_URL" -f deploy/postgres/roles.sql
--
-- The roles have no password. Set one for each, such as: \password tollway_processor
-- `npm run migrate` as tollway_owner grants the privileges on tables, which migrations/grants.ts lists.

do $$
declare
  role text;
begin
  foreach role in array array['tollway_owner', 'tollway_ad_server', 'tollway_processor', 'tollway_console', 'tollway_reporting'] loop
    if not exists (select from pg_roles where rolname = role) then
      execute format('create role %I login nosuperuser nocreatedb nocreaterole', role);
    end if;
    execute format('grant connect on database %I to %I', current_database(), role);
    execute format('grant usage on schema public to %I', role);
  end loop;
  -- Other roles cannot connect, and only tollway_owner can create tables.
  execute format('revoke all on database %I from public', current_database());
  revoke create on schema public from public;
  grant create on schema public to tollway_owner;
end $$;

-- A query of the ledger blocks the dropping of partitions until its transaction ends, so long and idle reports are ended.
alter role tollway_reporting set default_transaction_read_only = on;
alter role tollway_reporting set statement_timeout = '5min';
alter role tollway_reporting set idle_in_transaction_session_timeout = '5min';
