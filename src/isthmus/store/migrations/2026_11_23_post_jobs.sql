-- Daily health is a job of the schedule now, and keeps how far it is in its steps.
drop function workspaces_due_for_health(timestamptz);
drop table health_turn;
