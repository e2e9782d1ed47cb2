-- Only SQLite numbers its streams: PostgreSQL writes what changed in an index, and not a page for each stream.
SELECT 1;
