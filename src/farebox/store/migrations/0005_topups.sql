-- Payments into wallets. A top-up's id is the id of its transfer, and the key by which its processor knows a repeat.
-- `credit` goes to the wallet, `total` = `credit` + `tax` is paid. `paid` is set when it is credited, never before.
CREATE TABLE topups (
  id TEXT PRIMARY KEY,
  account_id INTEGER NOT NULL,
  processor TEXT NOT NULL,
  processor_ref TEXT,
  payment_ref TEXT,
  status TEXT NOT NULL CHECK (status IN ('created', 'pending', 'paid', 'failed', 'expired', 'refunded',
    'partly_refunded', 'disputed', 'mismatch')),
  credit INTEGER NOT NULL CHECK (credit > 0),
  tax INTEGER NOT NULL CHECK (tax >= 0),
  total INTEGER NOT NULL,
  currency TEXT NOT NULL,
  tax_name TEXT NOT NULL,
  url TEXT,
  return_url TEXT NOT NULL,
  reason TEXT,
  method TEXT,
  automatic INTEGER NOT NULL DEFAULT 0,
  keep_method INTEGER NOT NULL DEFAULT 0,
  refunded INTEGER NOT NULL DEFAULT 0,
  refunded_total INTEGER NOT NULL DEFAULT 0,
  disputed INTEGER NOT NULL DEFAULT 0,
  checks INTEGER NOT NULL DEFAULT 0,
  next_check INTEGER,
  paid INTEGER,
  created INTEGER NOT NULL,
  updated INTEGER NOT NULL,
  UNIQUE (processor, processor_ref),
  CHECK (total = credit + tax)
);
CREATE INDEX topups_account ON topups (account_id, id);
CREATE INDEX topups_payment ON topups (processor, payment_ref);
CREATE INDEX topups_next ON topups (next_check) WHERE next_check IS NOT NULL;

-- Events that moved money, written in the transaction of the move.
CREATE TABLE payment_events (
  processor TEXT NOT NULL,
  event_id TEXT NOT NULL,
  topup_id TEXT NOT NULL,
  created INTEGER NOT NULL,
  PRIMARY KEY (processor, event_id)
) WITHOUT ROWID;

-- Money of a top-up that goes back to its payer. `taken` left the wallet, `lost` was not there any more.
CREATE TABLE topup_refunds (
  id TEXT PRIMARY KEY,
  topup_id TEXT NOT NULL,
  account_id INTEGER NOT NULL,
  processor_ref TEXT,
  status TEXT NOT NULL CHECK (status IN ('taken', 'done', 'undone')),
  credit INTEGER NOT NULL CHECK (credit >= 0),
  total INTEGER NOT NULL CHECK (total > 0),
  taken INTEGER NOT NULL CHECK (taken >= 0),
  lost INTEGER NOT NULL CHECK (lost >= 0),
  reason TEXT,
  checks INTEGER NOT NULL DEFAULT 0,
  next_check INTEGER,
  created INTEGER NOT NULL,
  updated INTEGER NOT NULL
);
CREATE INDEX topup_refunds_topup ON topup_refunds (topup_id);
CREATE INDEX topup_refunds_next ON topup_refunds (next_check) WHERE next_check IS NOT NULL;

CREATE TABLE topup_disputes (
  id TEXT PRIMARY KEY,
  topup_id TEXT NOT NULL,
  account_id INTEGER NOT NULL,
  status TEXT NOT NULL CHECK (status IN ('open', 'won', 'lost')),
  credit INTEGER NOT NULL CHECK (credit >= 0),
  taken INTEGER NOT NULL CHECK (taken >= 0),
  lost INTEGER NOT NULL CHECK (lost >= 0),
  created INTEGER NOT NULL,
  updated INTEGER NOT NULL
);
CREATE INDEX topup_disputes_topup ON topup_disputes (topup_id);

-- What an account buys by itself when its wallet runs low. `running` is the one top-up under way.
CREATE TABLE auto_topups (
  account_id INTEGER PRIMARY KEY,
  processor TEXT NOT NULL,
  method TEXT NOT NULL,
  threshold INTEGER NOT NULL CHECK (threshold > 0),
  amount INTEGER NOT NULL CHECK (amount > 0),
  monthly_cap INTEGER NOT NULL CHECK (monthly_cap > 0),
  active INTEGER NOT NULL,
  failures INTEGER NOT NULL DEFAULT 0,
  running TEXT,
  not_before INTEGER NOT NULL DEFAULT 0,
  created INTEGER NOT NULL,
  updated INTEGER NOT NULL
);

-- Codes that are worth credit, kept as digests.
CREATE TABLE codes (
  digest BLOB PRIMARY KEY,
  hint TEXT NOT NULL,
  credit INTEGER NOT NULL CHECK (credit > 0),
  currency TEXT NOT NULL,
  uses INTEGER NOT NULL DEFAULT 0,
  uses_max INTEGER NOT NULL CHECK (uses_max > 0),
  expires INTEGER,
  revoked INTEGER,
  reason TEXT,
  created INTEGER NOT NULL,
  CHECK (uses <= uses_max)
);
CREATE TABLE code_uses (
  digest BLOB NOT NULL,
  account_id INTEGER NOT NULL,
  transfer_id TEXT NOT NULL,
  created INTEGER NOT NULL,
  PRIMARY KEY (digest, account_id)
) WITHOUT ROWID;
CREATE TABLE code_tries (
  id TEXT PRIMARY KEY,
  account_id INTEGER NOT NULL,
  created INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX code_tries_account ON code_tries (account_id, created);
