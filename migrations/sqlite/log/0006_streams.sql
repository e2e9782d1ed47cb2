-- Streams have numbers, in the order in which they began. The indexes of events are over these and not over ids, so that
-- the newest events of all streams lie close together there: a commit writes a few pages, and not one for each stream.
CREATE TABLE streams (
    number INTEGER PRIMARY KEY,
    aggregate_type TEXT NOT NULL,
    aggregate_id TEXT NOT NULL,
    UNIQUE (aggregate_type, aggregate_id)
) STRICT;

INSERT INTO streams (aggregate_type, aggregate_id)
SELECT aggregate_type, aggregate_id FROM events
GROUP BY aggregate_type, aggregate_id
ORDER BY MIN(position);

-- As it was, besides `stream` and what is unique.
CREATE TABLE events_of_streams (
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
    stream INTEGER NOT NULL REFERENCES streams (number),
    UNIQUE (stream, sequence),
    UNIQUE (stream, command_id, command_ordinal)
) STRICT;

INSERT INTO events_of_streams
SELECT events.*, streams.number FROM events
JOIN streams ON streams.aggregate_type = events.aggregate_type
    AND streams.aggregate_id = events.aggregate_id
ORDER BY events.position;

DROP TABLE events;
ALTER TABLE events_of_streams RENAME TO events;
