"""Your account: what you prove yourself with, and where you are signed in."""
