-- The program may see which migrations were applied, so that it can tell whether it is ready.
grant select on migration to isthmus_app;
