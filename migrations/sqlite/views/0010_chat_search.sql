-- Which messages hold which words, by the position of their first event. The text itself is not here:
-- `segments` refers to it.
CREATE TABLE chat_search (
    position INTEGER PRIMARY KEY,
    project TEXT NOT NULL,
    session TEXT NOT NULL,
    message TEXT NOT NULL,
    author TEXT,
    at INTEGER NOT NULL,
    segments TEXT NOT NULL,
    UNIQUE (session, message)
);
CREATE INDEX chat_search_by_project ON chat_search (project, position);

-- The words of a message, in lower case and without their order; the row id is its position.
CREATE VIRTUAL TABLE chat_search_words USING fts5 (
    words, content = '', contentless_delete = 1, detail = none, tokenize = 'ascii'
);
