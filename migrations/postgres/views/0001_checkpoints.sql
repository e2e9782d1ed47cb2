-- How far each reader of the log has come. A parked projection keeps the error that stopped it.
CREATE TABLE checkpoints (
    name TEXT PRIMARY KEY,
    version BIGINT NOT NULL,
    position BIGINT NOT NULL,
    parked_at BIGINT,
    parked_error TEXT
);

-- Events that the program could not decode and passed over.
CREATE TABLE undecoded_events (
    position BIGINT PRIMARY KEY,
    error TEXT NOT NULL
);
