-- Tax documents. Immutable: `content` is what is printed, as JSON, whatever the settings say later. A credit note
-- names the invoice it takes from in `invoice`, and the refund it is for.
CREATE TABLE invoices (
  number TEXT PRIMARY KEY,
  kind TEXT NOT NULL CHECK (kind IN ('invoice', 'credit_note')),
  series TEXT NOT NULL,
  n INTEGER NOT NULL CHECK (n > 0),
  account_id INTEGER NOT NULL,
  topup_id TEXT NOT NULL,
  refund_id TEXT,
  invoice TEXT REFERENCES invoices (number),
  net INTEGER NOT NULL CHECK (net >= 0),
  tax INTEGER NOT NULL CHECK (tax >= 0),
  total INTEGER NOT NULL CHECK (total > 0),
  currency TEXT NOT NULL,
  issued INTEGER NOT NULL,
  content TEXT NOT NULL,
  UNIQUE (series, n),
  CHECK (net + tax = total),
  CHECK ((kind = 'invoice') = (invoice IS NULL)),
  CHECK ((kind = 'invoice') = (refund_id IS NULL))
);
CREATE UNIQUE INDEX invoices_topup ON invoices (topup_id) WHERE kind = 'invoice';
CREATE UNIQUE INDEX invoices_refund ON invoices (refund_id) WHERE kind = 'credit_note';
CREATE INDEX invoices_account ON invoices (account_id, issued);
CREATE INDEX invoices_credited ON invoices (invoice) WHERE invoice IS NOT NULL;

-- The last number of each series. Counted up in the transaction that keeps the document, so that none is left out.
CREATE TABLE invoice_series (
  series TEXT PRIMARY KEY,
  last INTEGER NOT NULL
) WITHOUT ROWID;

-- Who an account's invoices are made out to from now on.
CREATE TABLE billing_details (
  account_id INTEGER PRIMARY KEY REFERENCES accounts (id),
  name TEXT NOT NULL,
  address TEXT NOT NULL,
  region TEXT NOT NULL,
  tax_id TEXT NOT NULL,
  email TEXT NOT NULL,
  changed INTEGER NOT NULL
);
