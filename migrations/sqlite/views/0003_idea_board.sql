-- Ideas with their stage, and what is known of the newest execution.
CREATE TABLE idea_board (
    idea TEXT PRIMARY KEY,
    project TEXT NOT NULL,
    stage TEXT NOT NULL,
    description TEXT NOT NULL,
    parked_reason TEXT,
    execution TEXT,
    session TEXT,
    branch TEXT,
    coding_agent TEXT,
    needs_input BOOLEAN NOT NULL,
    created_position INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
);
CREATE INDEX idea_board_by_project ON idea_board (project);
CREATE INDEX idea_board_by_execution ON idea_board (execution);

-- All executions of an idea, oldest first by position.
CREATE TABLE idea_executions (
    execution TEXT PRIMARY KEY,
    idea TEXT NOT NULL,
    position INTEGER NOT NULL
);
CREATE INDEX idea_executions_by_idea ON idea_executions (idea, position);
