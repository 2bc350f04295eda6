-- Target groups that are ours from creation to deletion. Expand only: once AWS has named one, it has a row in
-- `target_groups` like any other, and a server that knows nothing of this file sees it as somebody else's.

create table managed_groups (
    -- The same as in `target_groups`.
    name        text primary key,
    shard       text not null references shards,
    aws_name    text not null,
    -- `model::managed::DefinitionSpec`.
    spec        jsonb not null,
    version     bigint not null default 1,
    -- What becomes of it in AWS, once nobody is to manage it any more. The row goes when that is done.
    ending      text check (ending in ('delete', 'keep', 'release')),
    -- `model::managed::GroupStatus`, by the shard's writer; null: not looked at yet.
    status      jsonb,
    -- `model::Observed<model::managed::ObservedGroup>`, written when what was seen changed.
    observed    jsonb,
    -- Bindings that refer to it by name have been judged since it has its ARN.
    announced   bool not null default true,
    created_at  timestamptz not null default now(),
    unique (shard, aws_name)
);
create index managed_groups_shard on managed_groups (shard);
create index managed_groups_unannounced on managed_groups (name) where not announced;

-- What we made or took over in AWS. Only what stands here is ever changed or deleted.
create table ledger_resources (
    kind        text not null check (kind in ('targetGroup')),
    -- Of the declaration.
    name        text not null,
    shard       text not null references shards,
    -- null: it is being created, and AWS has not told which one it is.
    arn         text,
    state       text not null check (state in ('creating', 'adopting', 'present', 'deleting', 'releasing')),
    -- The state before the intent, for a call that surely was not applied; null: it was not ours.
    former_state text check (former_state in ('creating', 'adopting', 'present', 'deleting', 'releasing')),
    -- What we set last: `model::managed::Setting` → value.
    applied     jsonb not null default '{}',
    -- The plan that wrote the row last.
    plan_id     uuid not null,
    changed_at  timestamptz not null default now(),
    ambiguous_at timestamptz,
    primary key (kind, name),
    check (arn is not null or state = 'creating')
);
create unique index ledger_resources_arn on ledger_resources (arn) where arn is not null;
create index ledger_resources_shard on ledger_resources (shard);

-- A plan is of the targets of a target group, of the rules of a security group, or of a managed group itself.
alter table plans add column managed_group text;
alter table plans drop constraint plans_check;
alter table plans add constraint plans_subject check (num_nonnulls(target_group_arn, security_group_id, managed_group) = 1);
create index plans_managed_group on plans (managed_group, at desc, id desc) where managed_group is not null;

create or replace function plan_event() returns trigger language plpgsql as $$
begin
    perform event('plan.applied', new.id::text, jsonb_build_object(
        'targetGroupArn', new.target_group_arn, 'targetGroup', new.managed_group, 'outcome', new.outcome -> -1
    ));
    return null;
end $$;

create function managed_group_event() returns trigger language plpgsql as $$
begin
    perform event('targetGroup.status', new.name, new.status);
    return null;
end $$;
create trigger event_changed after update of status on managed_groups for each row
    when (new.status is not null and old.status is distinct from new.status) execute function managed_group_event();
