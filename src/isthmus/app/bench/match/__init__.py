"""Matching people, against Splink and handles alone."""
