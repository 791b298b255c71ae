-- What somebody is to be told, written in the transaction of what it tells. `account_id` is null where it is the
-- operator's. `once` names the occasion: the same one adds no second row. `routed` is when its deliveries were made.
CREATE TABLE notices (
  n INTEGER PRIMARY KEY,
  once TEXT NOT NULL UNIQUE,
  account_id INTEGER,
  kind TEXT NOT NULL,
  subject TEXT NOT NULL,
  text TEXT NOT NULL,
  data TEXT NOT NULL,
  created INTEGER NOT NULL,
  routed INTEGER
);
CREATE INDEX notices_created ON notices (created);
CREATE INDEX notices_account ON notices (account_id, created);
CREATE INDEX notices_unrouted ON notices (n) WHERE routed IS NULL;

-- One way of telling a notice. `next_try` is null once there is nothing left to do; a worker that sends it moves it
-- ahead first, so that no other sends it meanwhile.
CREATE TABLE deliveries (
  notice INTEGER NOT NULL REFERENCES notices (n),
  channel TEXT NOT NULL CHECK (channel IN ('webhook', 'email')),
  state TEXT NOT NULL CHECK (state IN ('waiting', 'delivered', 'given_up')),
  attempts INTEGER NOT NULL DEFAULT 0,
  next_try INTEGER,
  answer TEXT,
  changed INTEGER NOT NULL,
  PRIMARY KEY (notice, channel)
) WITHOUT ROWID;
CREATE INDEX deliveries_due ON deliveries (next_try) WHERE next_try IS NOT NULL;

-- Where a customer wants to be told. A webhook's secret is made of its salt and the master secret, so that it is
-- nowhere on disk. `low_balance` is an amount to be warned below, if they want one.
CREATE TABLE account_contacts (
  account_id INTEGER PRIMARY KEY REFERENCES accounts (id),
  email TEXT,
  webhook_url TEXT,
  webhook_salt TEXT,
  low_balance INTEGER CHECK (low_balance > 0)
);

-- How far a wallet has been alerted. `paid` is balance + spent as last seen: it changes with every move, and with
-- nothing else. `whole` is the balance right after the top-up or grant `top_up`; `due` the balance to alert at next,
-- -1 for none.
CREATE TABLE wallet_alerts (
  account_id INTEGER PRIMARY KEY,
  paid INTEGER NOT NULL,
  top_up INTEGER NOT NULL,
  whole INTEGER NOT NULL,
  level INTEGER NOT NULL,
  below INTEGER NOT NULL,
  due INTEGER NOT NULL
);

-- The highest level that a budget's window has been alerted at.
CREATE TABLE budget_alerts (
  key_id INTEGER NOT NULL,
  period TEXT NOT NULL,
  starts INTEGER NOT NULL,
  level INTEGER NOT NULL,
  PRIMARY KEY (key_id, period)
) WITHOUT ROWID;

-- What one worker does for all. A lease that has run out is anybody's.
CREATE TABLE leases (
  name TEXT PRIMARY KEY,
  owner TEXT NOT NULL,
  until INTEGER NOT NULL
) WITHOUT ROWID;
