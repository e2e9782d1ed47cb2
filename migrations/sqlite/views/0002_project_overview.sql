-- The linked projects with their defaults.
CREATE TABLE project_overview (
    project TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    repository TEXT NOT NULL,
    name TEXT NOT NULL,
    defaults TEXT NOT NULL,
    created_at INTEGER NOT NULL
);

-- What belongs to a project and when it last moved: its ideas and sessions.
CREATE TABLE project_activity (
    stream TEXT PRIMARY KEY,
    project TEXT NOT NULL,
    is_executing BOOLEAN NOT NULL,
    active_at INTEGER NOT NULL
);
CREATE INDEX project_activity_by_project ON project_activity (project);
