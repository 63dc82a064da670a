"""Consent, retention, erasure, lineage and the reports about them."""
