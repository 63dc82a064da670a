"""Leads, deals and their stages, and what brought them."""
