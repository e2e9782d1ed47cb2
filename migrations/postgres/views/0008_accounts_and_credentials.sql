-- People.
CREATE TABLE accounts (
    account UUID PRIMARY KEY,
    name TEXT NOT NULL,
    registered_at BIGINT NOT NULL
);

-- Which secrets there are; the secrets themselves are in the vault.
CREATE TABLE credentials (
    credential UUID PRIMARY KEY,
    owner UUID NOT NULL,
    kind TEXT NOT NULL,
    last_four TEXT NOT NULL,
    added_at BIGINT NOT NULL
);
CREATE INDEX credentials_by_owner ON credentials (owner);
