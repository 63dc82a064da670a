-- An endpoint may be told of some records alone: of those of which every clause of `filter.where` holds, and only when
-- one of `filter.changed` changed.

alter table webhook_endpoint add column filter jsonb not null default '{}';
