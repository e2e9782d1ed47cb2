-- Times are microseconds since 1970 in UTC.

-- Facts about this installation, such as its id.
CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;

-- Keys wrapped by the master key; nothing here opens anything by itself.
CREATE TABLE keys (
    id TEXT PRIMARY KEY,
    purpose TEXT NOT NULL,
    scope TEXT,
    wrapped_by TEXT,
    nonce BLOB NOT NULL,
    wrapped BLOB NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

CREATE INDEX keys_by_purpose ON keys (purpose, scope);

-- Secrets of users, encrypted; the label is bound to the ciphertext as associated data.
CREATE TABLE vault (
    id TEXT PRIMARY KEY,
    key_id TEXT NOT NULL,
    nonce BLOB NOT NULL,
    ciphertext BLOB NOT NULL,
    label TEXT NOT NULL
) STRICT;

CREATE INDEX vault_by_key ON vault (key_id);

-- Opaque tokens by their SHA-256; the token itself is never stored.
CREATE TABLE tokens (
    hash BLOB PRIMARY KEY,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    used_at INTEGER
) STRICT;

CREATE INDEX tokens_by_subject ON tokens (subject, kind);
CREATE INDEX tokens_by_expiry ON tokens (expires_at);

-- Who may run processes, timers and sweeps. Compared with this database's clock only.
CREATE TABLE lease (
    name TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    held_until INTEGER NOT NULL
) STRICT;
