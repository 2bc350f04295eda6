-- Every timestamp is Postgres's own clock. Specs and facts are JSONB, validated by the types of `model`; whatever a loop
-- looks up has a column and an index.

-- Who may call. Tokens are stored as SHA-256 and shown once.
create table tokens (
    hash        bytea primary key check (octet_length(hash) = 32),
    name        text not null,
    -- null: a person's or portal's token with the role; else: the agent token of that cluster.
    cluster_id  uuid,
    role        text not null check (role in ('admin', 'viewer', 'agent')),
    created_at  timestamptz not null default now(),
    check ((role = 'agent') = (cluster_id is not null))
);
create index tokens_cluster on tokens (cluster_id);

-- One row: what tells that the database is the one we knew (`src/store/src/identity.rs`).
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
    -- null: never leased. A lease that is past its deadline is nobody's.
    deadline    timestamptz,
    -- The deadline of the holder before: until then what it sent may still arrive.
    former_deadline timestamptz,
    -- When it was noticed that the database went back in time; removals wait until an operator releases the shard.
    restored_at timestamptz
) with (fillfactor = 50);

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
) with (fillfactor = 50);
alter table tokens add foreign key (cluster_id) references clusters on delete cascade;

create table target_groups (
    name        text primary key,
    arn         text not null unique,
    shard       text not null references shards,
    -- The name in AWS, as the ARN has it.
    aws_name    text not null,
    spec        jsonb not null,
    version     bigint not null default 1,
    created_at  timestamptz not null default now()
);
create index target_groups_aws_name on target_groups (shard, aws_name);

-- Holds that outlive a plan or that an operator may release.
create table holds (
    id          uuid primary key default gen_random_uuid(),
    shard       text not null references shards,
    -- One of the two: a hold of one group, or of a cluster (mass unbinding).
    target_group_arn text,
    cluster_id  uuid references clusters on delete cascade,
    reason      text not null,
    -- `model::plan::Hold`.
    body        jsonb not null,
    since       timestamptz not null default now(),
    released_at timestamptz,
    released_by text,
    -- When it ended, released or not.
    ended_at    timestamptz,
    check ((target_group_arn is null) <> (cluster_id is null)),
    check (released_at is null or ended_at is not null)
);
create unique index holds_open on holds (target_group_arn, reason) where ended_at is null and cluster_id is null;
create unique index holds_cluster on holds (cluster_id, reason) where ended_at is null and target_group_arn is null;
create index holds_released on holds (target_group_arn, released_at) where released_at is not null;
create index holds_ended on holds (target_group_arn, ended_at) where ended_at is not null;

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
    -- Columns of `spec` for the loops.
    target_group_arn text,
    service     text,
    -- The shard of the group, as the ARN names it.
    shard       text generated always as (
        split_part(target_group_arn, ':', 2) || '/' || split_part(target_group_arn, ':', 5) || '/'
            || split_part(target_group_arn, ':', 4)
    ) stored,
    deleted_at  timestamptz,
    hold_id     uuid references holds,
    version     bigint not null default 1,
    created_at  timestamptz not null default now(),
    check ((origin = 'object') = (object_uid is not null)),
    check ((origin = 'object') = (resource_version is not null)),
    check ((spec is null) = (target_group_arn is null)),
    check ((spec is null) = (service is null)),
    check (hold_id is null or deleted_at is not null)
);
-- A name can be taken again while the binding that had it before is still letting go of its targets.
create unique index bindings_name on bindings (cluster_id, namespace, name, origin) where deleted_at is null;
create index bindings_object on bindings (cluster_id, namespace, name);
create index bindings_target_group on bindings (target_group_arn);
create index bindings_shard on bindings (shard, target_group_arn);
create index bindings_service on bindings (cluster_id, namespace, service);
create index bindings_hold on bindings (hold_id) where hold_id is not null;

-- Object bindings that were taken away of late, for the rule on many at once. The binding itself may be gone already.
create table unbindings (
    binding_id  uuid primary key,
    cluster_id  uuid not null references clusters on delete cascade,
    bound_since timestamptz not null,
    at          timestamptz not null default now()
);
create index unbindings_window on unbindings (cluster_id, at);

-- The services that bindings refer to: what a cluster is asked about. A row comes with the first binding and goes, with
-- all its facts, with the last.
create table services (
    cluster_id  uuid not null references clusters on delete cascade,
    namespace   text not null,
    name        text not null,
    -- A service that is forgotten and wanted again has another token: the agent must state it anew.
    token       bigint generated always as identity,
    -- null with known = true: the cluster said that it does not exist.
    known       bool not null default false,
    body        jsonb,
    -- A complete set of slices was stored.
    slices_known bool not null default false,
    confirmed_at timestamptz,
    primary key (cluster_id, namespace, name)
);

create table endpoint_slices (
    cluster_id  uuid not null,
    namespace   text not null,
    name        text not null,
    service     text not null,
    uid         uuid not null,
    resource_version bigint not null,
    body        jsonb not null,
    primary key (cluster_id, namespace, name),
    foreign key (cluster_id, namespace, service) references services on delete cascade
);
create index endpoint_slices_service on endpoint_slices (cluster_id, namespace, service);

-- Endpoints that vanished, while the ledger may still have their targets.
create table departures (
    cluster_id  uuid not null,
    namespace   text not null,
    service     text not null,
    address     text not null,
    pod_uid     uuid,
    pod         jsonb,
    -- As `model::fact::Evidence`, weakest first: evidence is strengthened and never weakened.
    evidence    smallint not null check (evidence between 0 and 3),
    at          timestamptz not null default now(),
    unique nulls not distinct (cluster_id, namespace, service, address, pod_uid),
    foreign key (cluster_id, namespace, service) references services on delete cascade
);

-- Consistent reads that the service wants of a cluster.
create table relists (
    id          bigint generated by default as identity primary key,
    cluster_id  uuid not null,
    namespace   text not null,
    service     text not null,
    pods        jsonb not null default '[]',
    requested_at timestamptz not null default now(),
    unique (cluster_id, namespace, service),
    foreign key (cluster_id, namespace, service) references services on delete cascade
);

-- The targets that are ours. Only what stands here is ever deregistered.
create table ledger_targets (
    target_group_arn text not null,
    target_id   text not null,
    port        integer not null check (port between 1 and 65535),
    shard       text not null references shards,
    zone        text,
    state       text not null check (state in ('registering', 'registered', 'deregistering', 'deregistered')),
    -- The state before the intent, for a call that surely was not applied; null: the target was not ours.
    former_state text check (former_state in ('registering', 'registered', 'deregistering', 'deregistered')),
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
create index ledger_targets_shard on ledger_targets (shard, target_group_arn);

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

-- What AWS said last, written when it changed. `facts` and `targets` are `model::Observed` without its time.
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
    -- One entry per settled call.
    outcome     jsonb,
    at          timestamptz not null default now()
);
create index plans_target_group on plans (target_group_arn, at desc, id desc);

create table statuses (
    binding_id  uuid primary key references bindings on delete cascade,
    cluster_id  uuid not null references clusters on delete cascade,
    body        jsonb not null,
    -- Rises with every change of a status of the cluster: the agent's stream sends what is above the last it sent.
    version     bigint not null,
    changed_at  timestamptz not null default now()
);
create index statuses_cluster on statuses (cluster_id, version);

-- The highest version of each cluster's statuses. The row's lock makes the order of versions the order of commits, so
-- that a reader never passes over one that commits late.
create table status_versions (
    cluster_id  uuid primary key references clusters on delete cascade,
    version     bigint not null
) with (fillfactor = 50);

create table audit (
    id          bigint generated always as identity primary key,
    at          timestamptz not null default now(),
    actor       text not null,
    action      text not null,
    object      text not null,
    before      jsonb,
    after       jsonb
);
