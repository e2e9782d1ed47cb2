-- Machines.
CREATE TABLE nodes (
    node TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    provider TEXT NOT NULL,
    name TEXT NOT NULL,
    state TEXT NOT NULL,
    slots INTEGER NOT NULL,
    agent_version TEXT,
    warm_until INTEGER,
    reason TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
);

-- Which workspaces sit on which machine.
CREATE TABLE node_placements (
    workspace TEXT PRIMARY KEY,
    node TEXT NOT NULL,
    position INTEGER NOT NULL
);
CREATE INDEX node_placements_by_node ON node_placements (node);
