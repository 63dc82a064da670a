-- The number of the last event that the log has forgotten; numbers are never used again.
alter table event_head add column trimmed bigint not null default 0;
