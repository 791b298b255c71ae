-- The seals of finished days: each a SHA-256 over the one before it and over every transfer since, so that what was
-- booked cannot be changed without every later seal saying so. A day is closed first, and has no hash until all of its
-- transfers are read. `ends` is where the day ends in the wallet's time zone.
CREATE TABLE seals (
  day TEXT PRIMARY KEY,
  ends INTEGER NOT NULL UNIQUE,
  first_seq INTEGER NOT NULL,
  last_seq INTEGER NOT NULL,
  previous TEXT NOT NULL,
  hash TEXT,
  transfers INTEGER NOT NULL DEFAULT 0,
  losses INTEGER NOT NULL DEFAULT 0,
  made INTEGER NOT NULL,
  CHECK (last_seq >= first_seq - 1)
);

-- Which day sealed a loss: losses have no number of their own by which they follow each other.
CREATE TABLE sealed_losses (
  id TEXT PRIMARY KEY,
  day TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX sealed_losses_day ON sealed_losses (day);
