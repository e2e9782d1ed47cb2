-- States of aggregates at a sequence: only a cache. Deleting all of them changes nothing but the time a load takes.
CREATE TABLE snapshots (
    aggregate_type TEXT NOT NULL,
    aggregate_id TEXT NOT NULL,
    sequence BIGINT NOT NULL CHECK (sequence > 0),
    -- Of the event at that sequence: a snapshot of another history is not used.
    hash BYTEA NOT NULL CHECK (length(hash) = 32),
    -- Of the program's rules: a snapshot of other rules is not used.
    fingerprint TEXT NOT NULL,
    state TEXT NOT NULL,
    PRIMARY KEY (aggregate_type, aggregate_id)
);

-- Whose texts were destroyed, signed by the installation's key. Each entry is also written outside the database.
CREATE TABLE erasures (
    subject UUID PRIMARY KEY,
    kind TEXT NOT NULL,
    number BIGINT NOT NULL CHECK (number > 0),
    installation UUID NOT NULL,
    position BIGINT NOT NULL CHECK (position >= 0),
    previous BYTEA NOT NULL CHECK (length(previous) = 32),
    signed_at BIGINT NOT NULL,
    signature BYTEA NOT NULL CHECK (length(signature) = 64)
);
