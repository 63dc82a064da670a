"""Monitoring: what alarms, the objectives and their error budgets, latency and errors over time, by route and key."""
