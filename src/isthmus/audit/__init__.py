"""The log of who did what: entries, their canonical bytes, the queue for what no transaction writes, and the search."""
