-- The linked projects with their defaults.
CREATE TABLE project_overview (
    project UUID PRIMARY KEY,
    owner UUID NOT NULL,
    repository TEXT NOT NULL,
    name TEXT NOT NULL,
    defaults TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

-- What belongs to a project and when it last moved: its ideas and sessions.
CREATE TABLE project_activity (
    stream UUID PRIMARY KEY,
    project UUID NOT NULL,
    is_executing BOOLEAN NOT NULL,
    active_at BIGINT NOT NULL
);
CREATE INDEX project_activity_by_project ON project_activity (project);
