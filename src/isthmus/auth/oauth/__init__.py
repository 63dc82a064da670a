"""The authorisation server: OAuth 2.0 and OpenID Connect without a word of HTTP.

    provider    what all parts work with; programs proving who they are; DPoP proofs
    clients     programs that a workspace registered
    keyring     signing keys on a schedule
    requests    what an authorisation asks for, pushed or shown to a person
    grants      what tokens stand on, and what they carry at most
    codes       authorisation codes, used once
    refreshing  refresh tokens, rotated
    machines    programs that act for themselves
    devices     codes that a person types for a device
    exchanging  a token for a narrower one
    issuing     access and ID tokens
    inspecting  introspection and revocation

Secrets, codes and refresh tokens are stored as digests; each is used up by one statement, so that of many who try at
once one succeeds.
"""
