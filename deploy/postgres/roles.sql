-- Roles for a database that Tollway shares with nothing else, each with what its part needs and no more. Run it once as a superuser in
-- that database, before the first migration; running it again changes nothing:
--
--     psql "$ADMIN_URL" -f deploy/postgres/roles.sql
--
-- No role has a password yet, so none can log in with one. Give each its own: \password tollway_processor
-- `npm run migrate` as tollway_owner grants the tables: migrations/grants.ts lists what each role may do.

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
  -- Whoever is not named here neither connects nor makes a table.
  execute format('revoke all on database %I from public', current_database());
  revoke create on schema public from public;
  grant create on schema public to tollway_owner;
end $$;

-- A query of the ledger keeps its partitions from being dropped until its transaction ends: a report is cut off, whether it works or idles.
alter role tollway_reporting set default_transaction_read_only = on;
alter role tollway_reporting set statement_timeout = '5min';
alter role tollway_reporting set idle_in_transaction_session_timeout = '5min';
