-- Up to when new records of a type met their likely matches, between the runs over all of them.
alter table match_model add column looked_to timestamptz;
