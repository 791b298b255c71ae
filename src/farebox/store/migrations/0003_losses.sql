-- What was owed and will not come: money between the operator and a processor alone, so no wallet is on either side.
CREATE TABLE losses (
  id TEXT PRIMARY KEY,
  account_id INTEGER NOT NULL,
  debit TEXT NOT NULL,
  credit TEXT NOT NULL,
  amount INTEGER NOT NULL CHECK (amount > 0),
  currency TEXT NOT NULL,
  reason TEXT,
  created INTEGER NOT NULL,
  CHECK (debit <> credit)
);
CREATE INDEX losses_account ON losses (account_id);
