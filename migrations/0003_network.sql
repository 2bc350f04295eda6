-- Security-group rules: what bindings need open, and which rules are ours.

-- What each binding was last computed to need open. It stays while the binding is in error or its cluster is silent, and
-- goes with the binding, whose row lives until its targets have gone.
create table openings (
    binding_id  uuid not null references bindings on delete cascade,
    security_group_id text not null,
    -- The shard that owns the security group; not always that of the target group.
    shard       text not null references shards,
    -- A sorted list of `model::network::Permission`.
    permissions jsonb not null,
    changed_at  timestamptz not null default now(),
    -- `model::network::Standing`, written by the security group's writer; null: not looked at yet.
    standing    jsonb,
    primary key (binding_id, security_group_id)
);
create index openings_security_group on openings (shard, security_group_id);

-- The rules that are ours. Only what stands here, with its id, is ever revoked.
create table ledger_rules (
    security_group_id text not null,
    -- `model::network::Permission`: AWS never has two rules of one group that are alike.
    permission  jsonb not null,
    shard       text not null references shards,
    -- AWS's id of the rule; null until AWS has named it.
    rule_id     text,
    state       text not null check (state in ('authorizing', 'authorized', 'revoking', 'revoked')),
    -- The state before the intent, for a call that surely was not applied; null: the rule was not ours.
    former_state text check (former_state in ('authorizing', 'authorized', 'revoking', 'revoked')),
    -- The clusters whose bindings it serves, or served last.
    clusters    uuid[] not null,
    -- The plan that wrote the row last.
    plan_id     uuid not null,
    changed_at  timestamptz not null default now(),
    ambiguous_at timestamptz,
    primary key (security_group_id, permission),
    check (rule_id is not null or state = 'authorizing')
);
create index ledger_rules_shard on ledger_rules (shard, security_group_id);

-- A plan is of a target group or of a security group.
alter table plans add column security_group_id text;
alter table plans alter column target_group_arn drop not null;
alter table plans add check ((target_group_arn is null) <> (security_group_id is null));
create index plans_security_group on plans (security_group_id, at desc, id desc) where security_group_id is not null;
