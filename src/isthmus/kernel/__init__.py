"""Ids, money, periods, time, errors and marks: what every room stands on. Standard library and msgspec only."""
