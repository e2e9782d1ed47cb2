-- States of aggregates at a sequence: only a cache. Deleting all of them changes nothing but the time a load takes.
CREATE TABLE snapshots (
    aggregate_type TEXT NOT NULL,
    aggregate_id TEXT NOT NULL,
    sequence INTEGER NOT NULL CHECK (sequence > 0),
    -- Of the event at that sequence: a snapshot of another history is not used.
    hash BLOB NOT NULL CHECK (length(hash) = 32),
    -- Of the program's rules: a snapshot of other rules is not used.
    fingerprint TEXT NOT NULL,
    state TEXT NOT NULL,
    PRIMARY KEY (aggregate_type, aggregate_id)
) STRICT;

-- Whose texts were destroyed, signed by the installation's key. Each entry is also written outside the database.
CREATE TABLE erasures (
    subject TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    number INTEGER NOT NULL CHECK (number > 0),
    installation TEXT NOT NULL,
    position INTEGER NOT NULL CHECK (position >= 0),
    previous BLOB NOT NULL CHECK (length(previous) = 32),
    signed_at INTEGER NOT NULL,
    signature BLOB NOT NULL CHECK (length(signature) = 64)
) STRICT;
