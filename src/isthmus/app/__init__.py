"""The edge that knows all rooms: command line, assembly of the HTTP surface, roles, embedded engines, settings, the clock."""
