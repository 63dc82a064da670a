"""Workflows: steps that are taken for a record in their time, in versions, as durable jobs; each happens once."""
