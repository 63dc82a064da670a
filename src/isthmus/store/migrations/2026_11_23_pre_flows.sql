-- What flows between a connection and the records of a type: versions of the mapping, and which was in force when.
create table flow_mapping (
    workspace integer not null,
    id uuid not null,
    connection_id uuid not null,
    type text not null,
    number integer not null,
    mapping jsonb not null,
    reason text not null,
    created_at timestamptz not null,
    created_by text not null,
    primary key (workspace, id)
);
create unique index flow_mapping_number on flow_mapping (workspace, connection_id, type, number);
alter table flow_mapping enable row level security;
alter table flow_mapping force row level security;
create policy workspace on flow_mapping using (workspace = (select current_workspace()));
grant select, insert on flow_mapping to isthmus_app;

-- The newest that was not taken back is in force; without any it is the connector's own mapping.
create table flow_activation (
    workspace integer not null,
    id uuid not null,
    connection_id uuid not null,
    type text not null,
    mapping_id uuid not null,
    at timestamptz not null,
    by text not null,
    undone_at timestamptz,
    undone_by text,
    primary key (workspace, id)
);
create index flow_activation_newest on flow_activation (workspace, connection_id, type, id desc)
    where undone_at is null;
alter table flow_activation enable row level security;
alter table flow_activation force row level security;
create policy workspace on flow_activation using (workspace = (select current_workspace()));
grant select, insert, update on flow_activation to isthmus_app;
