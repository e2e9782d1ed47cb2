-- Which processes still want something, as far as their readers have read the log.
CREATE TABLE open_intents (
    kind TEXT NOT NULL,
    process UUID NOT NULL,
    correlation UUID NOT NULL,
    intents TEXT NOT NULL,
    PRIMARY KEY (kind, process)
);
