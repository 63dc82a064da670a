"""Records, claims, outbox and audit rows in PostgreSQL; one way in (`land`, `write`), and migrations."""
