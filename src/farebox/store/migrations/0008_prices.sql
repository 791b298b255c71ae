-- The price book: which version was in force from when, and what is to come. A period whose start has passed is never
-- changed. The scope of a price is the plan with a markup of its own, else ''; of a cost, the provider. The version ''
-- says that it was not sold any more.
CREATE TABLE price_periods (
  kind TEXT NOT NULL CHECK (kind IN ('price', 'cost')),
  model TEXT NOT NULL,
  scope TEXT NOT NULL,
  starts INTEGER NOT NULL,
  version TEXT NOT NULL,
  PRIMARY KEY (kind, model, scope, starts)
) WITHOUT ROWID;
CREATE INDEX price_periods_starts ON price_periods (starts);

-- Dated changes that were entered here; those of the file are in the file.
CREATE TABLE price_changes (
  n INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  what TEXT NOT NULL CHECK (what IN ('price', 'markup', 'cost')),
  model TEXT NOT NULL,
  provider TEXT NOT NULL,
  value TEXT NOT NULL,
  starts INTEGER NOT NULL,
  notice INTEGER NOT NULL,
  source TEXT NOT NULL,
  entered INTEGER NOT NULL,
  withdrawn INTEGER
);

-- When a dated change of the file was first seen, and when it takes effect: decided once.
CREATE TABLE price_seen (
  id TEXT PRIMARY KEY,
  first INTEGER NOT NULL,
  starts INTEGER NOT NULL
) WITHOUT ROWID;

-- How far customers have been told of the increases of one moment: accounts up to this one.
CREATE TABLE price_announcements (
  id TEXT PRIMARY KEY,
  starts INTEGER NOT NULL,
  told_to INTEGER NOT NULL,
  done INTEGER
) WITHOUT ROWID;

-- What was given back for a wrong price, so that no call is corrected twice.
CREATE TABLE price_corrections (
  id TEXT PRIMARY KEY,
  model TEXT NOT NULL,
  since INTEGER NOT NULL,
  until INTEGER NOT NULL,
  rule TEXT NOT NULL,
  created INTEGER NOT NULL
) WITHOUT ROWID;

-- Listings that were imported, over the release's.
CREATE TABLE imported_listings (
  id TEXT PRIMARY KEY,
  listing TEXT NOT NULL,
  imported INTEGER NOT NULL
) WITHOUT ROWID;
