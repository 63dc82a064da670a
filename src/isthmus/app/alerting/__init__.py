"""What this program alerts of: the rules, the gauges they look at, the ways in which people are told, and the probe."""
