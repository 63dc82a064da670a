"""Signing in at a company's identity provider by SAML 2.0: web browser SSO, asked by redirect, answered by POST."""
