-- Heads over the whole log, signed by the installation's key. Each is also written outside the database.
CREATE TABLE signed_heads (
    number INTEGER PRIMARY KEY CHECK (number > 0),
    installation TEXT NOT NULL,
    epoch INTEGER NOT NULL CHECK (epoch > 0),
    position INTEGER NOT NULL CHECK (position > 0),
    hash BLOB NOT NULL CHECK (length(hash) = 32),
    previous BLOB NOT NULL CHECK (length(previous) = 32),
    signed_at INTEGER NOT NULL,
    signature BLOB NOT NULL CHECK (length(signature) = 64)
) STRICT;
