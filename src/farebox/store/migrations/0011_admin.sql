-- An administrator who is no more stays written down, for the audit log names them.
ALTER TABLE administrators ADD COLUMN revoked INTEGER;

-- What administrators changed, written in the transaction of the change. `before` and `after` are JSON.
CREATE TABLE audit_log (
  id INTEGER PRIMARY KEY,
  actor TEXT NOT NULL,
  action TEXT NOT NULL,
  changed TEXT NOT NULL,
  before TEXT,
  after TEXT,
  ip TEXT,
  created INTEGER NOT NULL
);

-- What a change was answered, by the name its caller gave it, so that asking twice changes once. Never a secret.
CREATE TABLE admin_idempotency (
  key TEXT PRIMARY KEY,
  hash BLOB NOT NULL,
  status INTEGER NOT NULL,
  body TEXT NOT NULL,
  created INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX admin_idempotency_created ON admin_idempotency (created);

-- What each check of the books found; only the latest are kept. `report` is JSON.
CREATE TABLE book_checks (
  n INTEGER PRIMARY KEY,
  began INTEGER NOT NULL,
  took_us INTEGER NOT NULL,
  report TEXT NOT NULL
);
