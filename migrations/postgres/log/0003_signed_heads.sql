-- Heads over the whole log, signed by the installation's key. Each is also written outside the database.
CREATE TABLE signed_heads (
    number BIGINT PRIMARY KEY CHECK (number > 0),
    installation UUID NOT NULL,
    epoch BIGINT NOT NULL CHECK (epoch > 0),
    position BIGINT NOT NULL CHECK (position > 0),
    hash BYTEA NOT NULL CHECK (length(hash) = 32),
    previous BYTEA NOT NULL CHECK (length(previous) = 32),
    signed_at BIGINT NOT NULL,
    signature BYTEA NOT NULL CHECK (length(signature) = 64)
);
