-- Targets that were deregistered for the end of their pod, until AWS has let them finish what they serve.
create table drains (
    target_group_arn text not null,
    target_id   text not null,
    port        integer not null,
    shard       text not null,
    -- The binding that the target was registered for, as `CLUSTER/NAMESPACE/NAME`.
    object      text not null,
    pod         jsonb not null,
    -- When AWS acknowledged the removal.
    since       timestamptz not null,
    primary key (target_group_arn, target_id, port)
);
create index drains_shard on drains (shard, target_group_arn);
