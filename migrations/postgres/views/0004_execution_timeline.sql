-- Executions: how far each has come, and what it brought about.
CREATE TABLE executions (
    execution UUID PRIMARY KEY,
    idea UUID NOT NULL,
    project UUID NOT NULL,
    session UUID NOT NULL,
    workspace UUID,
    node UUID,
    state TEXT NOT NULL,
    step TEXT,
    settings TEXT NOT NULL,
    is_cancel_requested BOOLEAN NOT NULL,
    reason TEXT,
    input_until BIGINT,
    result TEXT,
    checkpoint TEXT,
    requested_position BIGINT NOT NULL,
    requested_at BIGINT NOT NULL,
    ended_at BIGINT
);
CREATE INDEX executions_by_project ON executions (project);

-- The steps that were started.
CREATE TABLE execution_steps (
    execution UUID NOT NULL,
    step TEXT NOT NULL,
    reason TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    PRIMARY KEY (execution, step)
);

-- What an execution's own stream recorded, for people.
CREATE TABLE execution_events (
    execution UUID NOT NULL,
    position BIGINT NOT NULL,
    at BIGINT NOT NULL,
    event TEXT NOT NULL,
    summary TEXT NOT NULL,
    PRIMARY KEY (execution, position)
);
