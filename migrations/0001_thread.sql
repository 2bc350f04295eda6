-- Who may call. Tokens are stored as SHA-256 and shown once.
create table tokens (
    hash        bytea primary key,
    name        text not null,
    -- null: a person's or portal's token with the role; else: the agent token of that cluster.
    cluster_id  uuid,
    role        text not null check (role in ('admin', 'viewer', 'agent')),
    created_at  timestamptz not null default now(),
    check ((role = 'agent') = (cluster_id is not null))
);

-- One row: what tells that the database is the one we knew (see "Restored from a backup" in src/store).
create table installation (
    singleton   bool primary key default true check (singleton),
    id          uuid not null default gen_random_uuid(),
    -- pg_control_system().system_identifier and pg_control_checkpoint().timeline_id when last seen.
    system_identifier bigint,
    timeline_id integer,
    created_at  timestamptz not null default now()
);
insert into installation default values;

create table shards (
    shard       text primary key,
    -- The replica that holds the lease; null: nobody.
    holder      text,
    epoch       bigint not null default 0,
    deadline    timestamptz not null default '-infinity',
    -- The deadline of the holder before: what it sent may still arrive.
    former_deadline timestamptz not null default '-infinity',
    -- When it was noticed that the database went back in time; removals wait until an operator releases the shard.
    restored_at timestamptz
);

create table clusters (
    id          uuid primary key default gen_random_uuid(),
    name        text not null unique,
    shard       text not null references shards,
    spec        jsonb not null,
    version     bigint not null default 1,
    -- The epoch of the newest stream; every ingest compares it.
    epoch       bigint not null default 0,
    -- kube-system's UID of the cluster that first used the name.
    cluster_uid text,
    agent_instance text,
    -- When the agent was last heard of.
    seen_at     timestamptz,
    sources_synced_at timestamptz,
    -- What the agent says it cannot see: kind → reason.
    unsynced    jsonb not null default '{}',
    created_at  timestamptz not null default now()
);
alter table tokens add foreign key (cluster_id) references clusters on delete cascade;

create table target_groups (
    name        text primary key,
    arn         text not null unique,
    shard       text not null references shards,
    spec        jsonb not null,
    version     bigint not null default 1,
    created_at  timestamptz not null default now()
);

-- Holds that outlive a plan or that an operator may release.
create table holds (
    id          uuid primary key default gen_random_uuid(),
    shard       text not null references shards,
    -- null: the hold is a cluster's (mass unbinding).
    target_group_arn text,
    cluster_id  uuid references clusters on delete cascade,
    reason      text not null,
    removals    jsonb not null default '[]',
    bindings    uuid[] not null default '{}',
    since       timestamptz not null default now(),
    released_at timestamptz,
    released_by text,
    -- When it ended by itself.
    ended_at    timestamptz
);
create index holds_open on holds (shard, target_group_arn) where ended_at is null;
create index holds_cluster on holds (cluster_id) where ended_at is null;

create table bindings (
    id          uuid primary key default gen_random_uuid(),
    cluster_id  uuid not null references clusters on delete cascade,
    namespace   text not null,
    name        text not null,
    origin      text not null check (origin in ('object', 'api')),
    -- The object's UID and resourceVersion; null for a binding declared by API.
    object_uid  uuid,
    resource_version bigint,
    generation  bigint not null,
    -- The text as it came; what it compiled to; what is wrong with it.
    source      jsonb not null,
    spec        jsonb,
    problem     jsonb,
    -- Real columns of `spec` for the loops.
    target_group_arn text,
    service     text,
    deleted_at  timestamptz,
    hold_id     uuid references holds,
    version     bigint not null default 1,
    created_at  timestamptz not null default now()
);
-- A name can be taken again while the binding that had it before is still letting go of its targets.
create unique index bindings_name on bindings (cluster_id, namespace, name, origin) where deleted_at is null;
create index bindings_target_group on bindings (target_group_arn);
create index bindings_service on bindings (cluster_id, namespace, service);

create table services (
    cluster_id  uuid not null references clusters on delete cascade,
    namespace   text not null,
    name        text not null,
    -- null with known = true: the cluster said that it does not exist.
    known       bool not null default false,
    body        jsonb,
    slices_known bool not null default false,
    confirmed_at timestamptz,
    primary key (cluster_id, namespace, name)
);

create table endpoint_slices (
    cluster_id  uuid not null references clusters on delete cascade,
    namespace   text not null,
    name        text not null,
    service     text not null,
    uid         uuid not null,
    resource_version bigint not null,
    body        jsonb not null,
    primary key (cluster_id, namespace, name)
);
create index endpoint_slices_service on endpoint_slices (cluster_id, namespace, service);

-- Endpoints that vanished, while the ledger still has their targets.
create table departures (
    cluster_id  uuid not null references clusters on delete cascade,
    namespace   text not null,
    service     text not null,
    address     text not null,
    pod_uid     uuid,
    pod         jsonb,
    evidence    text not null,
    at          timestamptz not null default now(),
    unique nulls not distinct (cluster_id, namespace, service, address, pod_uid)
);

-- Consistent reads that the service wants of a cluster.
create table relists (
    id          bigint generated always as identity primary key,
    cluster_id  uuid not null references clusters on delete cascade,
    namespace   text not null,
    service     text not null,
    pods        jsonb not null default '[]',
    requested_at timestamptz not null default now(),
    unique (cluster_id, namespace, service)
);

-- The targets that are ours. Only what stands here is ever deregistered.
create table ledger_targets (
    target_group_arn text not null,
    target_id   text not null,
    port        integer not null check (port between 1 and 65535),
    shard       text not null references shards,
    zone        text,
    state       text not null check (state in ('registering', 'registered', 'deregistering', 'deregistered')),
    claimed     bool not null,
    bindings    uuid[] not null,
    pod         jsonb,
    -- The plan that wrote the row last.
    plan_id     uuid not null,
    changed_at  timestamptz not null default now(),
    ambiguous_at timestamptz,
    unwanted_since timestamptz,
    primary key (target_group_arn, target_id, port)
);
create index ledger_targets_shard on ledger_targets (shard);

-- Removals of the recent past, for the sliding window.
create table ledger_removals (
    target_group_arn text not null,
    target_id   text not null,
    port        integer not null,
    ground      jsonb not null,
    live_before integer not null,
    plan_id     uuid not null,
    at          timestamptz not null default now()
);
create index ledger_removals_window on ledger_removals (target_group_arn, at);

-- What AWS said last, written when it changed.
create table observations (
    target_group_arn text primary key,
    shard       text not null references shards,
    facts       jsonb not null,
    targets     jsonb not null,
    changed_at  timestamptz not null default now()
);

-- The journal: the last plans of each target group, with what became of them.
create table plans (
    id          uuid primary key,
    target_group_arn text not null,
    shard       text not null,
    epoch       bigint not null,
    body        jsonb not null,
    outcome     jsonb,
    at          timestamptz not null default now()
);
create index plans_target_group on plans (target_group_arn, at desc);

create table statuses (
    binding_id  uuid primary key references bindings on delete cascade,
    cluster_id  uuid not null references clusters on delete cascade,
    body        jsonb not null,
    -- Rises with every change of any status: the agent's stream sends what is above the last it sent.
    version     bigint not null,
    changed_at  timestamptz not null default now()
);
create sequence status_versions;
create index statuses_cluster on statuses (cluster_id, version);

create table audit (
    id          bigint generated always as identity primary key,
    at          timestamptz not null default now(),
    actor       text not null,
    action      text not null,
    object      text not null,
    before      jsonb,
    after       jsonb
);
