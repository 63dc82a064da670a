-- Limits of services behind the gate, each by its name.
alter table limit_rule drop constraint limit_rule_scope_check;
alter table limit_rule add constraint limit_rule_scope_check
    check (scope in ('caller', 'workspace', 'integration', 'route', 'upstream'));
