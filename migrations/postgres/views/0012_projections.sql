-- When a projection was parked.
ALTER TABLE checkpoints ADD COLUMN parked_since BIGINT;

-- What people asked of projections: kept until it is done, by whichever process projects.
CREATE TABLE projection_requests (
    name TEXT PRIMARY KEY,
    request TEXT NOT NULL
);

-- Streams whose events cannot be folded, with the first event that could not.
CREATE TABLE damaged_streams (
    kind TEXT NOT NULL,
    stream UUID NOT NULL,
    sequence BIGINT NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (kind, stream)
);
