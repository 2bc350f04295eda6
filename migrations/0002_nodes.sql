-- The nodes of a cluster: the targets of instance groups, and which endpoints of ip groups are on nodes that nobody
-- hears of. Wanted while the cluster has a binding; forgotten with the last one.
alter table clusters
    -- When the first complete list of its nodes was stored; null: nothing is known of any node.
    add column nodes_synced_at timestamptz,
    -- Nodes that are forgotten and wanted again have another token: the agent must state them anew.
    add column nodes_token bigint not null default 0;

create table nodes (
    cluster_id  uuid not null references clusters on delete cascade,
    name        text not null,
    uid         uuid not null,
    resource_version bigint not null,
    -- The condition Ready, as `model::node::NodeReady`.
    ready       text not null check (ready in ('true', 'false', 'unknown', 'absent')),
    -- The EC2 instance; null: none (yet), so that it is no target.
    instance_id text,
    body        jsonb not null,
    -- When a live read of the node last showed just this.
    confirmed_at timestamptz,
    primary key (cluster_id, name)
);
create index nodes_instance on nodes (cluster_id, instance_id) where instance_id is not null;
create index nodes_unknown on nodes (cluster_id, name) where ready = 'unknown';

-- Nodes that were there, while the ledger may still have their instances and no other node stands for them.
create table node_departures (
    cluster_id  uuid not null references clusters on delete cascade,
    name        text not null,
    uid         uuid not null,
    instance_id text not null,
    -- A live read did not find the node, or found another UID.
    gone        bool not null default false,
    at          timestamptz not null default now(),
    primary key (cluster_id, name, uid)
);
create index node_departures_instance on node_departures (cluster_id, instance_id);

-- Nodes to be read by name, as `model::node::NodeRef`.
alter table relists add column nodes jsonb not null default '[]';
