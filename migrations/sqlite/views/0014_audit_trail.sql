-- Which project a stream belongs to, for the audit trail.
CREATE TABLE audit_streams (
    stream TEXT PRIMARY KEY,
    project TEXT NOT NULL
);
CREATE INDEX audit_streams_by_project ON audit_streams (project);
