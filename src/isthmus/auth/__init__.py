"""People and machines proving who they are."""
