-- Security-group rules, whole: for whom each is, what waits in which group, and why openings are not known.

-- The bindings that a rule serves, or served last: a pause of one keeps it. null: written by a server that did not say.
alter table ledger_rules add column bindings uuid[];

-- What the last pass over a security group left to do, and what it holds back. Written on change.
create table rule_outlooks (
    security_group_id text primary key,
    shard       text not null references shards,
    -- `model::rule_plan::RulePlan`, without the standings, which are with the openings.
    body        jsonb not null,
    changed_at  timestamptz not null default now()
);
create index rule_outlooks_shard on rule_outlooks (shard, security_group_id);

-- Why what a binding needs open could not be computed (`model::condition::Problem`); written with its openings, by the
-- writer of the shard that has the security groups.
alter table bindings add column unopened jsonb;
