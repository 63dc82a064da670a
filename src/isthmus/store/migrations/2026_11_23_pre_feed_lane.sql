-- Readings of a feed beside the one that follows its changes: `trail` reads a second time what may have been told late,
-- `scan` reads everything. Each begins at `cursor` and, while it goes on, stands at `place`. The next trail begins where
-- the feed stood at `next_at`.
create table feed_lane (
    workspace integer not null,
    connection_id uuid not null,
    feed text not null,
    lane text not null check (lane in ('trail', 'scan')),
    cursor text,
    place text,
    going boolean not null default false,
    next_cursor text,
    next_at timestamptz,
    ended_at timestamptz,
    primary key (workspace, connection_id, feed, lane)
);
alter table feed_lane enable row level security;
alter table feed_lane force row level security;
create policy workspace on feed_lane using (workspace = current_workspace());
grant select, insert, update, delete on feed_lane to isthmus_app;
