-- Times are microseconds since 1970 in UTC.

-- Facts about this installation, such as its id.
CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

-- Keys wrapped by the master key; nothing here opens anything by itself.
CREATE TABLE keys (
    id UUID PRIMARY KEY,
    purpose TEXT NOT NULL,
    scope UUID,
    wrapped_by UUID,
    nonce BYTEA NOT NULL,
    wrapped BYTEA NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE INDEX keys_by_purpose ON keys (purpose, scope);

-- Secrets of users, encrypted; the label is bound to the ciphertext as associated data.
CREATE TABLE vault (
    id UUID PRIMARY KEY,
    key_id UUID NOT NULL,
    nonce BYTEA NOT NULL,
    ciphertext BYTEA NOT NULL,
    label TEXT NOT NULL
);

CREATE INDEX vault_by_key ON vault (key_id);

-- Opaque tokens by their SHA-256; the token itself is never stored.
CREATE TABLE tokens (
    hash BYTEA PRIMARY KEY,
    kind TEXT NOT NULL,
    subject UUID NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at BIGINT
);

CREATE INDEX tokens_by_subject ON tokens (subject, kind);
CREATE INDEX tokens_by_expiry ON tokens (expires_at);

-- Who may run processes, timers and sweeps. Compared with this database's clock only.
CREATE TABLE lease (
    name TEXT PRIMARY KEY,
    holder UUID NOT NULL,
    epoch BIGINT NOT NULL,
    held_until BIGINT NOT NULL
);
