-- Threats: what detectors found about callers and networks, what is done about it, and what is usual for a caller.
-- Findings about networks of which nobody is known belong to workspace 0.

create table threat (
    workspace integer not null,
    id uuid not null,
    detector text not null,
    subject text not null,
    mode text not null check (mode in ('observe', 'enforce')),
    step text not null check (step in ('observe', 'tag', 'step_up', 'slow', 'block', 'revoke')),
    would text not null check (would in ('tag', 'step_up', 'slow', 'block', 'revoke')),
    reason text not null,
    counts jsonb not null,
    requests text[] not null,
    strikes integer not null,
    hits bigint not null,
    first_seen timestamptz not null,
    last_seen timestamptz not null,
    struck_at timestamptz not null,
    until timestamptz not null,
    released_at timestamptz,
    released_by text,
    primary key (workspace, id)
);
create unique index threat_open on threat (workspace, detector, subject) where released_at is null;
create index threat_stands on threat (until) where mode = 'enforce';
create index threat_seen on threat (workspace, last_seen desc);

-- The mode of a detector, where it is not that of a new installation.
create table threat_mode (
    workspace integer not null,
    detector text not null,
    mode text not null check (mode in ('off', 'observe', 'enforce')),
    set_at timestamptz not null,
    set_by text not null,
    primary key (workspace, detector)
);

-- Keys and ids of records that nobody has a reason to use.
create table threat_honey (
    workspace integer not null,
    kind text not null check (kind in ('key', 'record')),
    value text not null,
    note text not null,
    set_at timestamptz not null,
    set_by text not null,
    primary key (workspace, kind, value)
);

-- Networks by their class and names of programs, and the busiest ten seconds of each hour of the day.
create table threat_profile (
    workspace integer not null,
    subject text not null,
    profile jsonb not null,
    seen_at timestamptz not null,
    primary key (workspace, subject)
);

-- Ten seconds of a caller in which something happened, over which other modes are tried.
create table threat_traffic (
    workspace integer not null,
    id bigint generated always as identity,
    at timestamptz not null,
    facts jsonb not null,
    primary key (workspace, id)
);
create index threat_traffic_at on threat_traffic (workspace, at);

do $$
declare
    name text;
begin
    foreach name in array array['threat', 'threat_mode', 'threat_honey', 'threat_profile', 'threat_traffic'] loop
        execute format('alter table %I enable row level security', name);
        execute format('create policy workspace on %I using (workspace = current_workspace())', name);
    end loop;
end
$$;
alter table threat_traffic force row level security;
grant select, insert, update, delete on threat, threat_mode, threat_honey, threat_profile, threat_traffic to isthmus_app;

-- Workers hold back callers of all workspaces, and learn of verdicts together.
create function threat_verdicts(moment timestamptz)
    returns table (workspace integer, subject text, detector text, step text, since timestamptz, until timestamptz)
    language sql stable security definer
begin atomic
    select t.workspace, t.subject, t.detector, t.step, t.struck_at, t.until from threat t
    where t.mode = 'enforce' and t.until > moment and t.released_at is null
    order by t.until desc limit 20000;
end;
create function threat_releases(moment timestamptz)
    returns table (workspace integer, detector text, subject text, released_at timestamptz)
    language sql stable security definer
begin atomic
    select t.workspace, t.detector, t.subject, t.released_at from threat t where t.released_at > moment;
end;
create index threat_released on threat (released_at) where released_at is not null;
create function threat_modes() returns table (workspace integer, detector text, mode text)
    language sql stable security definer
begin atomic
    select m.workspace, m.detector, m.mode from threat_mode m;
end;
create function threat_honeys() returns table (workspace integer, kind text, value text)
    language sql stable security definer
begin atomic
    select h.workspace, h.kind, h.value from threat_honey h;
end;
create function threat_profiles(moment timestamptz)
    returns table (workspace integer, subject text, profile jsonb)
    language sql stable security definer
begin atomic
    select p.workspace, p.subject, p.profile from threat_profile p
    where p.seen_at > moment order by p.seen_at desc limit 20000;
end;
revoke execute on function threat_verdicts(timestamptz), threat_releases(timestamptz), threat_modes(), threat_honeys(),
    threat_profiles(timestamptz) from public;
grant execute on function threat_verdicts(timestamptz), threat_releases(timestamptz), threat_modes(), threat_honeys(),
    threat_profiles(timestamptz) to isthmus_app;
