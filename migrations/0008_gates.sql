-- Readiness gates of pods.

alter table services
    -- A complete list of its gated pods was stored.
    add column pods_known bool not null default false,
    -- The shortest termination grace of all pods that it selects, in seconds; null: it selects none, or nobody said.
    add column shortest_grace bigint;

-- Pods with a readiness gate, under each bound Service that selects them.
create table pods (
    cluster_id  uuid not null,
    namespace   text not null,
    service     text not null,
    name        text not null,
    uid         uuid not null,
    resource_version bigint not null,
    -- `model::pod::Pod`.
    body        jsonb not null,
    -- When this UID was first stored.
    since       timestamptz not null default now(),
    primary key (cluster_id, namespace, service, name),
    foreign key (cluster_id, namespace, service) references services on delete cascade
);

-- What gates are to say and do not, until the cluster's agent has written it. No binding is referred to: a gate is opened
-- when its binding goes, and may be written when that has gone.
create table gates (
    cluster_id  uuid not null references clusters on delete cascade,
    pod_uid     uuid not null,
    -- The binding's name.
    name        text not null,
    pod         jsonb not null,
    binding_id  uuid not null,
    target_group_arn text not null,
    -- `model::pod::GateState`.
    body        jsonb not null,
    -- Of the same count as the versions of the cluster's statuses (`status_versions`).
    version     bigint not null,
    primary key (cluster_id, pod_uid, name)
);
create index gates_cluster on gates (cluster_id, version);
create index gates_target_group on gates (target_group_arn);
