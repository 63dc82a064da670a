"""Durable jobs on PostgreSQL, in their own transaction or in that of whoever wants them, and when they are to come."""
