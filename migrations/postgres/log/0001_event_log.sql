-- The one row that every append takes first: it orders commits, so positions have no gaps.
CREATE TABLE log_head (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    position BIGINT NOT NULL CHECK (position >= 0),
    epoch BIGINT NOT NULL CHECK (epoch > 0)
) WITH (fillfactor = 10);

INSERT INTO log_head (id, position, epoch) VALUES (1, 0, 1);

-- `json` keeps the text exactly as written, which the hash chain depends on.
CREATE TABLE events (
    position BIGINT PRIMARY KEY CHECK (position > 0),
    aggregate_type TEXT NOT NULL,
    aggregate_id TEXT NOT NULL,
    sequence BIGINT NOT NULL CHECK (sequence > 0),
    event_type TEXT NOT NULL,
    event_version TEXT NOT NULL,
    payload JSON NOT NULL,
    metadata JSON NOT NULL,
    command_id UUID NOT NULL,
    command_ordinal BIGINT NOT NULL CHECK (command_ordinal >= 0),
    hash BYTEA NOT NULL CHECK (length(hash) = 32),
    UNIQUE (aggregate_type, aggregate_id, sequence),
    UNIQUE (aggregate_type, aggregate_id, command_id, command_ordinal)
);

-- Personal text, encrypted under its project's key; events refer to it by id, length and hash.
CREATE TABLE contents (
    id UUID PRIMARY KEY,
    project UUID NOT NULL,
    nonce BYTEA NOT NULL,
    ciphertext BYTEA NOT NULL
);

CREATE INDEX contents_by_project ON contents (project);
