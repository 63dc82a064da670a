"""The search for objects that nobody reaches, in programs that load much and then run for long."""

import gc

_YOUNG_MAX = 20_000
"""How many new containers there may be before those that nobody reaches are looked for."""


def settle() -> None:
    """Take what was loaded out of the search, which otherwise walks through all of it again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_MAX, *gc.get_threshold()[1:])
