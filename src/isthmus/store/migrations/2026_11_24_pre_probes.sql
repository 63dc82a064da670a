-- A probe asks for some records drawn by lot: how many; null where all were read.
alter table reconciliation add column probed bigint;
-- How many fields a difference stands for: all of a record that is missing, none of one that is late.
alter table reconciliation_difference add column weight integer not null default 1;
