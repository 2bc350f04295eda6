-- Clusters that come and go, groups that several of them share, and who may do what. Expand only.

alter table clusters
    -- Set aside by an operator: it adds nothing new, and its silence does not count.
    add column cordoned_at timestamptz,
    -- On its way out, and what becomes of its targets. The row goes with its last binding.
    add column leaving text check (leaving in ('keep', 'drain'));

-- Of a cluster that leaves and keeps its targets: they stay in AWS and are ours no more.
alter table bindings
    add column relinquished bool not null default false check (not relinquished or deleted_at is not null);

-- By which role an account other than that of our own credentials is entered.
create table accounts (
    account     text primary key,
    spec        jsonb not null,
    version     bigint not null default 1,
    created_at  timestamptz not null default now()
);

-- An operator's word that the clusters that are silent by then are not coming back.
alter table installation
    add column fleet_released_at timestamptz,
    add column fleet_released_by text;

-- Which clusters and namespaces a token is for; null: all.
alter table tokens add column scope jsonb;
alter table tokens drop constraint tokens_role_check;
alter table tokens add constraint tokens_role_check check (role in ('admin', 'editor', 'viewer', 'agent'));
