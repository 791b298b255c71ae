-- Calls that their callers named by an idempotency key, and what was answered, so that a repeat is answered the same
-- and not charged again. `key` is a digest of the caller's own, `request` a keyed digest of what was asked under it,
-- `reply` is sealed: nothing of a prompt or an answer can be read here. `account_id` 0 is the operator's own writes.
-- `owner` runs the call; an empty one: nobody does. Not WITHOUT ROWID: rows are large.
CREATE TABLE idempotency (
  account_id INTEGER NOT NULL,
  key BLOB NOT NULL,
  request BLOB NOT NULL,
  call_id TEXT NOT NULL,
  owner TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('open', 'kept', 'too_large', 'dropped')),
  size INTEGER NOT NULL,
  reply BLOB,
  created INTEGER NOT NULL,
  PRIMARY KEY (account_id, key)
);
CREATE INDEX idempotency_created ON idempotency (created);
