"""Signing in elsewhere: people of a company that has an identity provider (OpenID Connect) prove themselves there."""
