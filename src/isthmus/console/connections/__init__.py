"""Connections for people: what is connected and how it is, connecting one, its runs, rows, writes and mappings."""
