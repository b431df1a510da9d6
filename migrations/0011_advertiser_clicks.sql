-- The clicks of each advertiser since the beginning of the ledger, for metrics: the sums of `click_rollup_day` over days, ads and publishers.
create table click_rollup_total (
  advertiser_id integer primary key,
  charged bigint not null default 0,
  over_budget bigint not null default 0,
  invalid bigint not null default 0
) with (fillfactor = 50);

-- Triggers keep the sums, not the rollup itself, so that they are also correct while processors of an earlier version run. A credit changes
-- no number of clicks, so its transaction locks no row here. The transactions of the rollup run one at a time.
create function add_clicks_to_total() returns trigger language plpgsql as $$
begin
  insert into click_rollup_total as total
  select advertiser_id, coalesce(bigint_sum(clicks) filter (where outcome = 'charged'), 0),
    coalesce(bigint_sum(clicks) filter (where outcome = 'over_budget'), 0), coalesce(bigint_sum(clicks) filter (where outcome = 'invalid'), 0)
  from added where clicks > 0 group by advertiser_id
  on conflict (advertiser_id) do update set charged = total.charged + excluded.charged,
    over_budget = total.over_budget + excluded.over_budget, invalid = total.invalid + excluded.invalid;
  return null;
end $$;

create function change_clicks_of_total() returns trigger language plpgsql as $$
begin
  insert into click_rollup_total as total
  select * from (
    select advertiser_id, coalesce(bigint_sum(clicks) filter (where outcome = 'charged'), 0) as charged,
      coalesce(bigint_sum(clicks) filter (where outcome = 'over_budget'), 0) as over_budget,
      coalesce(bigint_sum(clicks) filter (where outcome = 'invalid'), 0) as invalid
    from (select advertiser_id, outcome, clicks from added union all select advertiser_id, outcome, -clicks from removed) rows
    group by advertiser_id
  ) change where (charged, over_budget, invalid) <> (0, 0, 0)
  on conflict (advertiser_id) do update set charged = total.charged + excluded.charged,
    over_budget = total.over_budget + excluded.over_budget, invalid = total.invalid + excluded.invalid;
  return null;
end $$;

create trigger add_clicks_to_total after insert on click_rollup_day
  referencing new table as added for each statement execute function add_clicks_to_total();
create trigger change_clicks_of_total after update on click_rollup_day
  referencing new table as added old table as removed for each statement execute function change_clicks_of_total();

-- No run of the rollup commits between the triggers and the sums.
lock table click_rollup_day in share row exclusive mode;
insert into click_rollup_total
select advertiser_id, coalesce(bigint_sum(clicks) filter (where outcome = 'charged'), 0),
  coalesce(bigint_sum(clicks) filter (where outcome = 'over_budget'), 0), coalesce(bigint_sum(clicks) filter (where outcome = 'invalid'), 0)
from click_rollup_day group by advertiser_id;
