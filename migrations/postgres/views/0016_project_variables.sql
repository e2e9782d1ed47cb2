-- The variables of projects. Of a secret one it is not even known where its value is.
CREATE TABLE project_variables (
    project UUID NOT NULL,
    name TEXT NOT NULL,
    is_secret BOOLEAN NOT NULL,
    value TEXT,
    set_at BIGINT NOT NULL,
    PRIMARY KEY (project, name)
);
