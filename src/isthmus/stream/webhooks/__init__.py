"""Webhooks: events on their way to endpoints of others, and what others send, proven by its signature."""
