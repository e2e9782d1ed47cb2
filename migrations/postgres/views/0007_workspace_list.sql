-- Containers.
CREATE TABLE workspaces (
    workspace UUID PRIMARY KEY,
    project UUID NOT NULL,
    node UUID NOT NULL,
    execution UUID,
    state TEXT NOT NULL,
    profile TEXT NOT NULL,
    repository TEXT NOT NULL,
    branch TEXT NOT NULL,
    base_branch TEXT,
    base_commit TEXT,
    reason TEXT,
    created_position BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX workspaces_by_project ON workspaces (project);

-- The boot log.
CREATE TABLE workspace_boot_steps (
    workspace UUID NOT NULL,
    position BIGINT NOT NULL,
    step TEXT NOT NULL,
    state TEXT NOT NULL,
    detail TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (workspace, position)
);
