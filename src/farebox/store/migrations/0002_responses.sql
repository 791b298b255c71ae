-- Answers kept for their callers, each with the whole input it was made of, so that none needs another to be read.
-- `input` and `reply` are JSON, packed by zlib; `size` is what both are unpacked. Not WITHOUT ROWID: rows are large.
CREATE TABLE responses (
  id TEXT PRIMARY KEY,
  account_id INTEGER NOT NULL,
  previous_id TEXT,
  created INTEGER NOT NULL,
  model TEXT NOT NULL,
  size INTEGER NOT NULL,
  input BLOB NOT NULL,
  reply BLOB NOT NULL
);
CREATE INDEX responses_created ON responses (created);
