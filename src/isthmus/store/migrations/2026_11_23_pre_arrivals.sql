-- Whether the records that a run brings go through the steps that their domain takes new records through.
alter table run add column pipeline boolean not null default true;
