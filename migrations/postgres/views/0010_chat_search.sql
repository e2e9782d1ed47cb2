-- Which messages hold which words, by the position of their first event. The text itself is not here:
-- `segments` refers to it.
CREATE TABLE chat_search (
    position BIGINT PRIMARY KEY,
    project UUID NOT NULL,
    session UUID NOT NULL,
    message UUID NOT NULL,
    author UUID,
    at BIGINT NOT NULL,
    segments TEXT NOT NULL,
    -- The words of the message, in lower case and without their order.
    words TSVECTOR NOT NULL,
    UNIQUE (session, message)
);
CREATE INDEX chat_search_by_project ON chat_search (project, position);
CREATE INDEX chat_search_by_word ON chat_search USING GIN (words);
