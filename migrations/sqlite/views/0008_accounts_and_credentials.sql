-- People.
CREATE TABLE accounts (
    account TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    registered_at INTEGER NOT NULL
);

-- Which secrets there are; the secrets themselves are in the vault.
CREATE TABLE credentials (
    credential TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    kind TEXT NOT NULL,
    last_four TEXT NOT NULL,
    added_at INTEGER NOT NULL
);
CREATE INDEX credentials_by_owner ON credentials (owner);
