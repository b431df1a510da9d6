-- The audit log: `audit_entry` gets a row for each change of a setting or a budget, in the transaction of the change.

-- Adds an entry. The actor is the JSON in the setting `tollway.actor` of the transaction (`Actor` in ledger/actor.ts), else the database
-- role of the session. Runs as the owner of the tables, because no role may write to `audit_entry`.
-- The entry is not stamped before the settlement lock of its transaction: an export up to the settlement watermark misses no entry.
create function write_audit_entry(action text, subject text, advertiser_id integer, before jsonb, after jsonb) returns void
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  actor jsonb := nullif(current_setting('tollway.actor', true), '')::jsonb;
begin
  insert into public.audit_entry (at, actor_type, actor, actor_name, actor_role, action, subject, advertiser_id, before, after)
  values (
    greatest(public.lock_settlement(), clock_timestamp()), coalesce(actor ->> 'type', 'database'),
    coalesce(actor ->> 'id', actor ->> 'user', actor ->> 'component', session_user),
    actor ->> 'name', actor ->> 'role', action, subject, advertiser_id, before, after
  );
end $$;

-- Trigger function with the arguments action, column of the subject's id, columns. A new row is recorded with the values of the columns
-- that are not null, an update with the values of those that changed; without a change nothing is recorded. An update trigger without
-- columns records no values: its condition tells whether something changed. Changes of advertisers of load tests are not recorded.
create function audit_change() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp set timezone = 'UTC' as $$
declare
  columns text[] := tg_argv[2:];
  old_row jsonb := case when tg_op = 'UPDATE' then to_jsonb(old) end;
  new_row jsonb := to_jsonb(new);
  -- The advertiser of a rejected record can be wrong.
  owner_id integer := new_row ->> case tg_table_name when 'advertiser' then 'id' when 'dead_letter' then '' else 'advertiser_id' end;
  is_test boolean := case
    when tg_table_name = 'advertiser' then (new_row ->> 'is_test')::boolean and coalesce((old_row ->> 'is_test')::boolean, true)
    else exists (select from public.advertiser where id = owner_id and advertiser.is_test)
  end;
  before jsonb;
  after jsonb;
begin
  if is_test then return null; end if;
  select jsonb_object_agg(name, old_row -> name) filter (where old_row is not null), jsonb_object_agg(name, new_row -> name)
  into before, after from unnest(columns) name
  where coalesce(old_row -> name, 'null') is distinct from new_row -> name;
  if after is null and cardinality(columns) > 0 then return null; end if;
  perform public.write_audit_entry(tg_argv[0], new_row ->> tg_argv[1], owner_id, before, after);
  return null;
end $$;

revoke execute on function write_audit_entry(text, text, integer, jsonb, jsonb), audit_change() from public;

-- `update of`: a charge updates other columns and runs no trigger.
do $$
declare
  audited record;
begin
  for audited in
    select name, columns, (select string_agg(format(', %L', one), '') from unnest(columns) one) as arguments
    from (values
      ('advertiser', array['name', 'currency', 'time_zone', 'status', 'is_test', 'low_budget_percents']),
      ('campaign', array['name', 'status', 'starts_at', 'ends_at', 'cap_micros', 'daily_cap_micros', 'pacing', 'hold', 'fallback_url', 'external_id']),
      ('ad', array['name', 'campaign_id', 'price_micros', 'url_template', 'pass_parameters', 'status']),
      ('api_key', array['name', 'role', 'advertiser_ids', 'expires_at']),
      ('webhook', array['url', 'event_types', 'advertiser_id', 'status'])
    ) as list (name, columns)
  loop
    execute format('create trigger audit_create after insert on %I for each row execute function audit_change(%L, ''id''%s)',
      audited.name, audited.name || '.create', audited.arguments);
    execute format('create trigger audit_update after update of %s on %I for each row execute function audit_change(%L, ''id''%s)',
      array_to_string(audited.columns, ', '), audited.name, audited.name || '.update', audited.arguments);
  end loop;
end $$;

create trigger audit_create after insert on budget_entry for each row
  execute function audit_change('budget_entry.create', 'id', 'kind', 'amount_micros', 'reference', 'click_id');
create trigger audit_create after insert on spool_correction for each row
  execute function audit_change('spool.correct', 'spool_id', 'accepted_before', 'accepted_after', 'reason');
create trigger audit_create after insert on dead_letter_redrive for each row
  execute function audit_change('dead_letter.redrive', 'dead_letter_id', 'click_id', 'reason', 'outcome');
create trigger audit_discard after update of discarded_at on dead_letter for each row
  execute function audit_change('dead_letter.discard', 'id', 'discarded_at');
create trigger audit_revoke after update of revoked_at on api_key for each row
  execute function audit_change('api_key.revoke', 'id', 'revoked_at');
-- The values of secrets are never recorded.
create trigger audit_secret after update of secret_hash on api_key for each row when (old.secret_hash is distinct from new.secret_hash)
  execute function audit_change('api_key.replace_secret', 'id');
create trigger audit_secret after update of secret on webhook for each row when (old.secret is distinct from new.secret)
  execute function audit_change('webhook.rotate_secret', 'id');
