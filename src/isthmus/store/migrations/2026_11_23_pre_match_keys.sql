-- What lets one record meet its likely matches without reading all: keyed digests of what people are compared by, and
-- what the last run learned, sealed under a subject of its own, for it counts frequent names.

create table match_key (
    workspace integer not null,
    kind integer not null,
    key bigint not null,
    record_id uuid not null,
    primary key (workspace, key, record_id)
);
alter table match_key enable row level security;
alter table match_key force row level security;
create policy workspace on match_key using (workspace = (select current_workspace()));
grant select, insert, delete on match_key to isthmus_app;

create table match_model (
    workspace integer not null,
    type text not null,
    subject uuid not null,
    sealed bytea not null,
    learned_at timestamptz not null,
    primary key (workspace, type)
);
alter table match_model enable row level security;
alter table match_model force row level security;
create policy workspace on match_model using (workspace = (select current_workspace()));
grant select, insert, update, delete on match_model to isthmus_app;
