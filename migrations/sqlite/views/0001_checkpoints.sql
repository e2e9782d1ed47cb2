-- How far each reader of the log has come. A parked projection keeps the error that stopped it.
CREATE TABLE checkpoints (
    name TEXT PRIMARY KEY,
    version INTEGER NOT NULL,
    position INTEGER NOT NULL,
    parked_at INTEGER,
    parked_error TEXT
);

-- Events that the program could not decode and passed over.
CREATE TABLE undecoded_events (
    position INTEGER PRIMARY KEY,
    error TEXT NOT NULL
);
