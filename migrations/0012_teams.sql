-- Teams with the places that they have, tokens that are a team's, and audit and events that tell where something
-- happened. Expand only.

create table teams (
    name        text primary key,
    spec        jsonb not null,
    version     bigint not null default 1,
    created_at  timestamptz not null default now()
);

alter table tokens
    -- null: of no team. Else `scope` is kept to what the team has of `wish`: servers of the version before obey it, too.
    add column team text references teams,
    -- null: all that the team has.
    add column wish jsonb,
    -- The token that made it and that it ends with; null: an admin's, or the command line's.
    add column issuer uuid references tokens (id) on delete set null,
    -- The one that takes its place.
    add column successor uuid references tokens (id) on delete set null,
    -- To the minute.
    add column last_used_at timestamptz;
create index tokens_team on tokens (team) where team is not null;
create index tokens_issuer on tokens (issuer) where issuer is not null;

-- What a token made never outlasts it, whichever server ends it.
create function tokens_end() returns trigger language plpgsql as $$
begin
    update tokens set expires_at = least(expires_at, new.expires_at) where issuer = new.id;
    return null;
end $$;
create trigger ends after update of expires_at on tokens for each row
    when (new.expires_at is distinct from old.expires_at and new.expires_at is not null) execute function tokens_end();

-- Where it happened; null: everywhere, or in the whole cluster. Servers of the version before leave both out, and what
-- they write is told to those alone who may see everything.
alter table audit add column cluster text, add column namespace text;
create index audit_cluster on audit (cluster, id) where cluster is not null;
alter table events add column cluster text, add column namespace text;

-- Where the object says it, also where a server of the version before writes.
create function audit_place() returns trigger language plpgsql as $$
begin
    if new.cluster is not null then
        return new;
    end if;
    if new.action like 'cluster.%' then
        new.cluster := new.object;
    elsif new.action like 'pause.%' and (new.object like 'cluster/%' or new.object like 'binding/%') then
        new.cluster := split_part(new.object, '/', 2);
        new.namespace := nullif(split_part(new.object, '/', 3), '');
    end if;
    return new;
end $$;
create trigger place before insert on audit for each row execute function audit_place();

create function event_at(change text, object text, body jsonb, cluster text, namespace text) returns void language sql as $$
    insert into events (change, object, body, cluster, namespace)
    values (change, object, jsonb_strip_nulls(body), cluster, namespace);
    select pg_notify('elbow_events', '');
$$;

create or replace function audit_event() returns trigger language plpgsql as $$
begin
    perform event_at(
        new.action, new.object, jsonb_build_object('actor', new.actor), new.cluster, new.namespace
    );
    return null;
end $$;

create or replace function status_event() returns trigger language plpgsql as $$
begin
    perform event_at(
        'binding.status', c.name || '/' || b.namespace || '/' || b.name, new.body, c.name, b.namespace
    ) from bindings b join clusters c on c.id = b.cluster_id where b.id = new.binding_id;
    return null;
end $$;

create or replace function hold_event() returns trigger language plpgsql as $$
declare
    cluster_name text := (select name from clusters where id = new.cluster_id);
begin
    perform event_at(
        case when new.ended_at is null then 'hold.opened' else 'hold.ended' end, new.id::text,
        jsonb_build_object(
            'reason', new.reason, 'targetGroupArn', new.target_group_arn, 'releasedBy', new.released_by,
            'cluster', cluster_name
        ),
        cluster_name, null
    );
    return null;
end $$;

create or replace function cluster_event() returns trigger language plpgsql as $$
begin
    perform event_at(
        'cluster.connected', new.name,
        jsonb_build_object('agentInstance', new.agent_instance, 'epoch', new.epoch), new.name, null
    );
    return null;
end $$;
