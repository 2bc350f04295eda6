-- Who acts on an object (`model::ownership`). A server that knows nothing of these columns serves every object and keeps
-- their defaults, which say so.

alter table clusters
    -- Which of the cluster's objects are served.
    add column serve text not null default 'all' check (serve in ('none', 'labelled', 'all')),
    -- What the agent sees of others beside the objects.
    add column surroundings jsonb;

alter table bindings
    -- The object's marks as they were stated last; null: an agent that does not state them, or a binding of the API.
    add column marks jsonb,
    add column standing text not null default 'served'
        check (standing in ('served', 'notServed', 'unstated', 'managedByLbc', 'adopting', 'contested')),
    -- When an operator last took the object over, or said that nobody else writes to its targets.
    add column adopted_at timestamptz;

-- Plans whose registrations brought back targets of ours that had vanished.
create table ledger_drifts (
    target_group_arn text not null,
    plan_id     uuid not null,
    at          timestamptz not null default now(),
    primary key (target_group_arn, plan_id)
);
