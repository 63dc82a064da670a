"""Alerts: rules over named gauges, what holds now, who is told of it, and what was silenced or acknowledged."""
