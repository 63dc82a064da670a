"""Reconciliation: whether two sides hold the same rows, and if not, which rows and which fields differ.

Both sides tell digests of buckets of keys. Only where these differ the sides are asked for more: digests of smaller
buckets, the hash of each row, and last the fields of single rows. What is equal is never transferred.
"""
