"""Quotas for Envoy's own limiting: its filter `rate_limit_quota` enforces what is assigned here, asking nobody."""
