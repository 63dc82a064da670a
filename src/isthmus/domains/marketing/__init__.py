"""Campaigns, the people they reach, and what reaching them costs."""
