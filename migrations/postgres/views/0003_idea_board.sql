-- Ideas with their stage, and what is known of the newest execution.
CREATE TABLE idea_board (
    idea UUID PRIMARY KEY,
    project UUID NOT NULL,
    stage TEXT NOT NULL,
    description TEXT NOT NULL,
    parked_reason TEXT,
    execution UUID,
    session UUID,
    branch TEXT,
    coding_agent TEXT,
    needs_input BOOLEAN NOT NULL,
    created_position BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX idea_board_by_project ON idea_board (project);
CREATE INDEX idea_board_by_execution ON idea_board (execution);

-- All executions of an idea, oldest first by position.
CREATE TABLE idea_executions (
    execution UUID PRIMARY KEY,
    idea UUID NOT NULL,
    position BIGINT NOT NULL
);
CREATE INDEX idea_executions_by_idea ON idea_executions (idea, position);
