-- Money is signed 64-bit nano-units (10^-9) of the column's currency; times are microseconds since the epoch.

CREATE TABLE accounts (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  plan TEXT NOT NULL,
  status TEXT NOT NULL CHECK (status IN ('active', 'disabled')),
  created INTEGER NOT NULL
);

CREATE TABLE keys (
  id INTEGER PRIMARY KEY,
  public_id TEXT NOT NULL UNIQUE,
  account_id INTEGER NOT NULL REFERENCES accounts (id),
  digest BLOB NOT NULL UNIQUE,
  hint TEXT NOT NULL,
  name TEXT NOT NULL,
  created INTEGER NOT NULL,
  expires INTEGER,
  revoked INTEGER,
  last_used INTEGER
);
CREATE INDEX keys_account ON keys (account_id);

-- The only stored balances: a single revenue row would serialise every node.
CREATE TABLE wallets (
  account_id INTEGER PRIMARY KEY REFERENCES accounts (id),
  currency TEXT NOT NULL,
  balance INTEGER NOT NULL DEFAULT 0 CHECK (balance >= 0),
  held INTEGER NOT NULL DEFAULT 0 CHECK (held >= 0),
  spent INTEGER NOT NULL DEFAULT 0 CHECK (spent >= 0), -- The sum of its charges, so that nobody has to add them up.
  CHECK (balance >= held)
);

-- Who holds money: a worker is alive as long as it holds the lock on its file, however long it is stopped.
CREATE TABLE owners (
  id TEXT PRIMARY KEY,
  started INTEGER NOT NULL
) WITHOUT ROWID;

-- Pending transfers from a wallet to revenue. A hold leaves this table when it is posted or voided.
CREATE TABLE holds (
  id TEXT PRIMARY KEY,
  account_id INTEGER NOT NULL,
  key_id INTEGER NOT NULL,
  owner TEXT NOT NULL,
  model TEXT NOT NULL,
  amount INTEGER NOT NULL CHECK (amount >= 0),
  created INTEGER NOT NULL
) WITHOUT ROWID;

-- Immutable. A mistake is corrected by a further transfer, never by an update.
CREATE TABLE transfers (
  seq INTEGER PRIMARY KEY,
  id TEXT NOT NULL,
  account_id INTEGER NOT NULL,
  kind TEXT NOT NULL CHECK (kind IN ('charge', 'top_up', 'grant', 'refund', 'correction')),
  debit TEXT NOT NULL,
  credit TEXT NOT NULL,
  amount INTEGER NOT NULL CHECK (amount > 0),
  currency TEXT NOT NULL,
  reason TEXT,
  created INTEGER NOT NULL,
  CHECK (debit <> credit)
);
-- A charge's id is its request's, and unique there already: an index less to keep on the path of a call.
CREATE UNIQUE INDEX transfers_id ON transfers (id) WHERE kind <> 'charge';
CREATE INDEX transfers_account ON transfers (account_id);

-- One row a call that held money, written with its settlement. Whoever asks for one names its account, so that one
-- tree serves every question.
CREATE TABLE requests (
  id TEXT NOT NULL,
  account_id INTEGER NOT NULL,
  key_id INTEGER NOT NULL,
  profile TEXT NOT NULL,
  model TEXT NOT NULL,
  provider TEXT NOT NULL,
  upstream_model TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('posted', 'voided')),
  status INTEGER NOT NULL,
  streamed INTEGER NOT NULL,
  partial INTEGER NOT NULL,
  estimated INTEGER NOT NULL,
  finish TEXT,
  error TEXT,
  usage TEXT NOT NULL,
  input_tokens INTEGER NOT NULL,
  output_tokens INTEGER NOT NULL,
  charge INTEGER NOT NULL CHECK (charge >= 0),
  currency TEXT NOT NULL,
  hold INTEGER NOT NULL,
  leakage INTEGER NOT NULL DEFAULT 0,
  cost INTEGER NOT NULL,
  cost_currency TEXT NOT NULL,
  price_version TEXT NOT NULL,
  cost_version TEXT NOT NULL,
  attempts TEXT NOT NULL,
  first_byte_us INTEGER,
  latency_us INTEGER NOT NULL,
  created INTEGER NOT NULL,
  PRIMARY KEY (account_id, id)
) WITHOUT ROWID;

-- Prices and costs as they were at a call; immutable, named by their content.
CREATE TABLE versions (
  id TEXT PRIMARY KEY,
  kind TEXT NOT NULL CHECK (kind IN ('price', 'cost')),
  model TEXT NOT NULL,
  rates TEXT NOT NULL,
  made INTEGER NOT NULL
) WITHOUT ROWID;

-- What changed, for every worker to follow: it reads the rows after the last it knows.
CREATE TABLE changes (
  n INTEGER PRIMARY KEY AUTOINCREMENT,
  what TEXT NOT NULL,
  id INTEGER NOT NULL
);

CREATE TABLE settings (
  name TEXT PRIMARY KEY,
  value TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE administrators (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  digest BLOB NOT NULL UNIQUE,
  hint TEXT NOT NULL,
  created INTEGER NOT NULL
);
