-- What operators do and follow: pauses, events, tokens that end. All of it is additions: a server of the version before
-- runs on it.

-- Where nothing may be written to AWS, by whom and why. All three null: nowhere at all.
create table pauses (
    id          uuid primary key default gen_random_uuid(),
    shard       text references shards,
    cluster_id  uuid references clusters on delete cascade,
    binding_id  uuid references bindings on delete cascade,
    paused_by   text not null,
    reason      text not null,
    at          timestamptz not null default now(),
    check (num_nonnulls(shard, cluster_id, binding_id) <= 1),
    unique nulls not distinct (shard, cluster_id, binding_id)
);

-- Tokens are told apart by id, since their hash is nobody's business; `expires_at` is the overlap of a rotation.
alter table tokens
    add column id uuid not null default gen_random_uuid() unique,
    add column expires_at timestamptz;

-- What changed, for whoever follows it. Rows are read in the order (transaction, id), below every transaction under way,
-- so that one that commits late is not passed over. They are written by triggers, in the transaction of the change: no
-- writer can forget one, and none of another version.
create table events (
    transaction xid8 not null default pg_current_xact_id(),
    id          bigint not null generated always as identity,
    at          timestamptz not null default now(),
    -- `binding.status`, `cluster.put`, `hold.opened`, …
    change      text not null,
    -- The resource's name, as REST writes it.
    object      text not null,
    body        jsonb not null,
    primary key (transaction, id)
);
create index events_at on events (at);
create index audit_at on audit (at);
create index plans_at on plans (at);

create function event(change text, object text, body jsonb) returns void language sql as $$
    insert into events (change, object, body) values (change, object, jsonb_strip_nulls(body));
    -- A channel of its own: servers that do not know events would take it for a lost wake.
    select pg_notify('elbow_events', '');
$$;

create function audit_event() returns trigger language plpgsql as $$
begin
    perform event(new.action, new.object, jsonb_build_object('actor', new.actor));
    return null;
end $$;
create trigger event after insert on audit for each row execute function audit_event();

create function status_event() returns trigger language plpgsql as $$
begin
    perform event('binding.status', c.name || '/' || b.namespace || '/' || b.name, new.body)
        from bindings b join clusters c on c.id = b.cluster_id where b.id = new.binding_id;
    return null;
end $$;
create trigger event after insert on statuses for each row execute function status_event();
create trigger event_changed after update of body on statuses for each row
    when (old.body is distinct from new.body) execute function status_event();

create function hold_event() returns trigger language plpgsql as $$
begin
    perform event(
        case when new.ended_at is null then 'hold.opened' else 'hold.ended' end, new.id::text,
        jsonb_build_object(
            'reason', new.reason, 'targetGroupArn', new.target_group_arn, 'releasedBy', new.released_by,
            'cluster', (select name from clusters where id = new.cluster_id)
        )
    );
    return null;
end $$;
create trigger event after insert on holds for each row execute function hold_event();
create trigger event_ended after update of ended_at on holds for each row
    when (old.ended_at is null and new.ended_at is not null) execute function hold_event();

create function plan_event() returns trigger language plpgsql as $$
begin
    perform event('plan.applied', new.id::text, jsonb_build_object(
        'targetGroupArn', new.target_group_arn, 'outcome', new.outcome -> -1
    ));
    return null;
end $$;
create trigger event after update of outcome on plans for each row
    when (new.outcome is not null) execute function plan_event();

create function cluster_event() returns trigger language plpgsql as $$
begin
    perform event('cluster.connected', new.name, jsonb_build_object(
        'agentInstance', new.agent_instance, 'epoch', new.epoch
    ));
    return null;
end $$;
create trigger event after update of epoch on clusters for each row
    when (old.epoch is distinct from new.epoch) execute function cluster_event();
