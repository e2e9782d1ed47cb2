-- Containers.
CREATE TABLE workspaces (
    workspace TEXT PRIMARY KEY,
    project TEXT NOT NULL,
    node TEXT NOT NULL,
    execution TEXT,
    state TEXT NOT NULL,
    profile TEXT NOT NULL,
    repository TEXT NOT NULL,
    branch TEXT NOT NULL,
    base_branch TEXT,
    base_commit TEXT,
    reason TEXT,
    created_position INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
);
CREATE INDEX workspaces_by_project ON workspaces (project);

-- The boot log.
CREATE TABLE workspace_boot_steps (
    workspace TEXT NOT NULL,
    position INTEGER NOT NULL,
    step TEXT NOT NULL,
    state TEXT NOT NULL,
    detail TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (workspace, position)
);
