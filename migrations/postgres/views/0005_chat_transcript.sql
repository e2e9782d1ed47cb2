-- Conversations. Titles and previews are references to content.
CREATE TABLE chat_sessions (
    session UUID PRIMARY KEY,
    project UUID NOT NULL,
    idea UUID,
    execution UUID,
    coding_agent TEXT,
    title TEXT,
    preview TEXT,
    needs_input BOOLEAN NOT NULL,
    n_open_permissions BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX chat_sessions_by_project ON chat_sessions (project, updated_at);
CREATE INDEX chat_sessions_by_execution ON chat_sessions (execution);

-- What a conversation consists of, in the order of first positions. `changed` is the newest position.
CREATE TABLE chat_items (
    session UUID NOT NULL,
    key TEXT NOT NULL,
    item TEXT NOT NULL,
    position BIGINT NOT NULL,
    changed BIGINT NOT NULL,
    at BIGINT NOT NULL,
    message UUID,
    author UUID,
    kind TEXT,
    n_chunks BIGINT NOT NULL,
    is_complete BOOLEAN NOT NULL,
    is_truncated BOOLEAN NOT NULL,
    is_queued BOOLEAN NOT NULL,
    call TEXT,
    status TEXT,
    ended_at BIGINT,
    content TEXT,
    request UUID,
    answered_by TEXT,
    answer TEXT,
    reason TEXT,
    PRIMARY KEY (session, key)
);
CREATE INDEX chat_items_by_position ON chat_items (session, position);
CREATE INDEX chat_items_by_change ON chat_items (session, changed);

-- The text of messages, piece by piece.
CREATE TABLE chat_segments (
    session UUID NOT NULL,
    message UUID NOT NULL,
    first_chunk BIGINT NOT NULL,
    n_chunks BIGINT NOT NULL,
    content TEXT NOT NULL,
    PRIMARY KEY (session, message, first_chunk)
);
