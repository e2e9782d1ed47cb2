-- What happened in a project, coarsely. Rows name the project themselves or through idea, execution or session.
CREATE TABLE activity_feed (
    position INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    project TEXT,
    idea TEXT,
    execution TEXT,
    session TEXT,
    event TEXT NOT NULL,
    summary TEXT NOT NULL
);
CREATE INDEX activity_feed_by_project ON activity_feed (project);
CREATE INDEX activity_feed_by_idea ON activity_feed (idea);
CREATE INDEX activity_feed_by_execution ON activity_feed (execution);
CREATE INDEX activity_feed_by_session ON activity_feed (session);

-- Every event but streamed text, by what it involves, for audits.
CREATE TABLE event_index (
    position INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    stream TEXT NOT NULL,
    event TEXT NOT NULL,
    summary TEXT NOT NULL,
    actor TEXT NOT NULL,
    causation TEXT,
    correlation TEXT NOT NULL,
    execution TEXT,
    workspace TEXT
);
CREATE INDEX event_index_by_stream ON event_index (stream, position);
CREATE INDEX event_index_by_correlation ON event_index (correlation);
CREATE INDEX event_index_by_execution ON event_index (execution);
CREATE INDEX event_index_by_workspace ON event_index (workspace);
