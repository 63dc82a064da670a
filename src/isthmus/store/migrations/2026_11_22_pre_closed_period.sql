-- Periods that are closed: what was spent in them stays as it is.
create table closed_period (
    workspace integer not null,
    period text not null,
    closed_at timestamptz not null,
    closed_by text not null,
    primary key (workspace, period)
);
alter table closed_period enable row level security;
create policy workspace on closed_period using (workspace = current_workspace());
grant select, insert, delete on closed_period to isthmus_app;
