-- Which project a stream belongs to, for the audit trail.
CREATE TABLE audit_streams (
    stream UUID PRIMARY KEY,
    project UUID NOT NULL
);
CREATE INDEX audit_streams_by_project ON audit_streams (project);
