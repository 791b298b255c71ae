-- What a key may spend in a day, a week, a month, or ever. Guards of every hold, never counters after the fact.
CREATE TABLE budgets (
  key_id INTEGER NOT NULL,
  period TEXT NOT NULL CHECK (period IN ('day', 'week', 'month', 'total')),
  account_id INTEGER NOT NULL,
  amount INTEGER NOT NULL CHECK (amount >= 0),
  created INTEGER NOT NULL,
  PRIMARY KEY (key_id, period)
) WITHOUT ROWID;

-- A breaker stops a key whose hour comes to so many times its usual hour, though never below its floor.
CREATE TABLE breakers (
  key_id INTEGER PRIMARY KEY,
  account_id INTEGER NOT NULL,
  times INTEGER NOT NULL CHECK (times > 0),
  floor INTEGER NOT NULL CHECK (floor >= 0),
  created INTEGER NOT NULL
) WITHOUT ROWID;

-- One row a key, period and start: what its calls were charged, and what those still running hold. `seed` was spent
-- before anybody guarded the window; `ceiling` is the hour's of a breaker, for the others the budget's amount counts.
CREATE TABLE budget_windows (
  key_id INTEGER NOT NULL,
  period TEXT NOT NULL CHECK (period IN ('hour', 'day', 'week', 'month', 'total')),
  starts INTEGER NOT NULL,
  account_id INTEGER NOT NULL,
  seed INTEGER NOT NULL DEFAULT 0,
  spent INTEGER NOT NULL DEFAULT 0 CHECK (spent >= 0),
  held INTEGER NOT NULL DEFAULT 0 CHECK (held >= 0),
  ceiling INTEGER,
  PRIMARY KEY (key_id, period, starts)
) WITHOUT ROWID;

-- The windows a call was held in: "day:1767205800000000 month:1767205800000000". Empty for most.
ALTER TABLE holds ADD COLUMN guards TEXT;
ALTER TABLE requests ADD COLUMN guards TEXT;
ALTER TABLE keys ADD COLUMN paused INTEGER;
