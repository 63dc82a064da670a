"""The edge that knows all rooms: command line, HTTP assembly, roles, embedded engines, settings and the clock."""
