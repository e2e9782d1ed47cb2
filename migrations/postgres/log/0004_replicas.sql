-- The running servers of this database, as far as they say so. Compared with this database's clock only.
CREATE TABLE replicas (
    id UUID PRIMARY KEY,
    address TEXT NOT NULL,
    carries_node BOOLEAN NOT NULL,
    held_until BIGINT NOT NULL
);
