"""Budgets, spend, invoices and payments, and what the money returned."""
