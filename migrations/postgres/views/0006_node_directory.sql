-- Machines.
CREATE TABLE nodes (
    node UUID PRIMARY KEY,
    owner UUID NOT NULL,
    provider TEXT NOT NULL,
    name TEXT NOT NULL,
    state TEXT NOT NULL,
    slots BIGINT NOT NULL,
    agent_version TEXT,
    warm_until BIGINT,
    reason TEXT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

-- Which workspaces sit on which machine.
CREATE TABLE node_placements (
    workspace UUID PRIMARY KEY,
    node UUID NOT NULL,
    position BIGINT NOT NULL
);
CREATE INDEX node_placements_by_node ON node_placements (node);
