-- Our own key for each SAML identity provider, by which requests to it are signed; those set up before have none.
alter table saml_provider add column signing_certificate text, add column signing_key bytea;
