-- Which processes still want something, as far as their readers have read the log.
CREATE TABLE open_intents (
    kind TEXT NOT NULL,
    process TEXT NOT NULL,
    correlation TEXT NOT NULL,
    intents TEXT NOT NULL,
    PRIMARY KEY (kind, process)
);
