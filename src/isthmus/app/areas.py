"""Whose permissions open records of a type, where these are not those of its domain."""

from collections.abc import Mapping

AREAS: Mapping[str, str] = {"marketing.consent": "privacy"}
