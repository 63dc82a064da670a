-- What reconciling a connection found. Both values are sealed under the key of the record: with it they go.
create table reconciliation (
    workspace integer not null,
    id uuid not null,
    connection_id uuid not null,
    type text not null,
    at timestamptz not null,
    rows_there bigint not null,
    rows_here bigint not null,
    compared bigint not null,
    differing bigint not null,
    unvisited bigint not null,
    primary key (workspace, id)
);
create index reconciliation_newest on reconciliation (workspace, connection_id, type, id desc);
alter table reconciliation enable row level security;
alter table reconciliation force row level security;
create policy workspace on reconciliation using (workspace = (select current_workspace()));
grant select, insert, delete on reconciliation to isthmus_app;

create table reconciliation_difference (
    workspace integer not null,
    id uuid not null,
    connection_id uuid not null,
    type text not null,
    external_id text not null,
    field text not null,
    kind text not null check (kind in ('missing', 'extra', 'field', 'duplicate', 'late', 'aggregate')),
    record_id uuid,
    sealed bytea,
    stake numeric,
    currency text,
    status text not null check (status in ('open', 'accepted', 'ignored', 'repaired', 'gone')),
    reason text not null default '',
    found_at timestamptz not null,
    seen_at timestamptz not null,
    decided_by text,
    decided_at timestamptz,
    primary key (workspace, id)
);
create unique index reconciliation_difference_place on reconciliation_difference
    (workspace, connection_id, type, external_id, field);
alter table reconciliation_difference enable row level security;
alter table reconciliation_difference force row level security;
create policy workspace on reconciliation_difference using (workspace = (select current_workspace()));
grant select, insert, update, delete on reconciliation_difference to isthmus_app;
