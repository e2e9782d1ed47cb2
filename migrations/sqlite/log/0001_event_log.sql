-- The one row that every append takes first: it orders commits, so positions have no gaps.
CREATE TABLE log_head (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    position INTEGER NOT NULL CHECK (position >= 0),
    epoch INTEGER NOT NULL CHECK (epoch > 0)
) STRICT;

INSERT INTO log_head (id, position, epoch) VALUES (1, 0, 1);

CREATE TABLE events (
    position INTEGER PRIMARY KEY CHECK (position > 0),
    aggregate_type TEXT NOT NULL,
    aggregate_id TEXT NOT NULL,
    sequence INTEGER NOT NULL CHECK (sequence > 0),
    event_type TEXT NOT NULL,
    event_version TEXT NOT NULL,
    payload TEXT NOT NULL,
    metadata TEXT NOT NULL,
    command_id TEXT NOT NULL,
    command_ordinal INTEGER NOT NULL CHECK (command_ordinal >= 0),
    hash BLOB NOT NULL CHECK (length(hash) = 32),
    UNIQUE (aggregate_type, aggregate_id, sequence),
    UNIQUE (aggregate_type, aggregate_id, command_id, command_ordinal)
) STRICT;

-- Personal text, encrypted under its project's key; events refer to it by id, length and hash.
CREATE TABLE contents (
    id TEXT PRIMARY KEY,
    project TEXT NOT NULL,
    nonce BLOB NOT NULL,
    ciphertext BLOB NOT NULL
) STRICT;

CREATE INDEX contents_by_project ON contents (project);
