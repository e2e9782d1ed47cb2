-- Conversations. Titles and previews are references to content.
CREATE TABLE chat_sessions (
    session TEXT PRIMARY KEY,
    project TEXT NOT NULL,
    idea TEXT,
    execution TEXT,
    coding_agent TEXT,
    title TEXT,
    preview TEXT,
    needs_input BOOLEAN NOT NULL,
    n_open_permissions INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
);
CREATE INDEX chat_sessions_by_project ON chat_sessions (project, updated_at);
CREATE INDEX chat_sessions_by_execution ON chat_sessions (execution);

-- What a conversation consists of, in the order of first positions. `changed` is the newest position.
CREATE TABLE chat_items (
    session TEXT NOT NULL,
    key TEXT NOT NULL,
    item TEXT NOT NULL,
    position INTEGER NOT NULL,
    changed INTEGER NOT NULL,
    at INTEGER NOT NULL,
    message TEXT,
    author TEXT,
    kind TEXT,
    n_chunks INTEGER NOT NULL,
    is_complete BOOLEAN NOT NULL,
    is_truncated BOOLEAN NOT NULL,
    is_queued BOOLEAN NOT NULL,
    call TEXT,
    status TEXT,
    ended_at INTEGER,
    content TEXT,
    request TEXT,
    answered_by TEXT,
    answer TEXT,
    reason TEXT,
    PRIMARY KEY (session, key)
);
CREATE INDEX chat_items_by_position ON chat_items (session, position);
CREATE INDEX chat_items_by_change ON chat_items (session, changed);

-- The text of messages, piece by piece.
CREATE TABLE chat_segments (
    session TEXT NOT NULL,
    message TEXT NOT NULL,
    first_chunk INTEGER NOT NULL,
    n_chunks INTEGER NOT NULL,
    content TEXT NOT NULL,
    PRIMARY KEY (session, message, first_chunk)
);
