-- Sessions: browsers that are logged in to the console. A session does what its API key may do, and ends with it.

-- A key without a hash has no text: no request can use it, and sessions are made by login links alone.
alter table api_key alter column secret_hash drop not null;
-- At most one such key is active: the one of the login links that name no other.
create unique index api_key_without_text on api_key ((true)) where secret_hash is null and revoked_at is null;

create table console_session (
  id bigint generated always as identity primary key,
  token_hash bytea not null unique check (length(token_hash) = 32), -- SHA-256 of the token in the cookie
  api_key_id integer not null references api_key (id),
  created_at timestamptz not null default now(),
  expires_at timestamptz not null -- seven days after the latest use, or up to an hour less
);
create index on console_session (api_key_id, expires_at);
create index on console_session (expires_at);

-- A login link that was not used yet. Its use deletes the row.
create table login_link (
  token_hash bytea primary key check (length(token_hash) = 32), -- SHA-256 of the token in the link
  api_key_id integer not null references api_key (id),
  created_at timestamptz not null default now(),
  expires_at timestamptz not null
);
create index on login_link (expires_at);

-- The ads of the sample advertisers: IS_SAMPLE in ledger/accounts/sample-advertisers.ts.
create index ad_sample on ad (advertiser_id) where url_template like '/sample/%';
