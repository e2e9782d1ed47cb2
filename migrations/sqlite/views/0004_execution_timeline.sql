-- Executions: how far each has come, and what it brought about.
CREATE TABLE executions (
    execution TEXT PRIMARY KEY,
    idea TEXT NOT NULL,
    project TEXT NOT NULL,
    session TEXT NOT NULL,
    workspace TEXT,
    node TEXT,
    state TEXT NOT NULL,
    step TEXT,
    settings TEXT NOT NULL,
    is_cancel_requested BOOLEAN NOT NULL,
    reason TEXT,
    input_until INTEGER,
    result TEXT,
    checkpoint TEXT,
    requested_position INTEGER NOT NULL,
    requested_at INTEGER NOT NULL,
    ended_at INTEGER
);
CREATE INDEX executions_by_project ON executions (project);

-- The steps that were started.
CREATE TABLE execution_steps (
    execution TEXT NOT NULL,
    step TEXT NOT NULL,
    reason TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    PRIMARY KEY (execution, step)
);

-- What an execution's own stream recorded, for people.
CREATE TABLE execution_events (
    execution TEXT NOT NULL,
    position INTEGER NOT NULL,
    at INTEGER NOT NULL,
    event TEXT NOT NULL,
    summary TEXT NOT NULL,
    PRIMARY KEY (execution, position)
);
