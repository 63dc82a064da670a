"""Folders that work from their first minute, for those who write a new one."""
