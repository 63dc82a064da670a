"""Examining an installation: what is well, what is not, and what mends it. Nothing is changed by looking.

examine(settings, *, now, say) -> list[Finding]      engines that do not run are started for the time of looking
"""

from isthmus.app.doctor.examining import examine
from isthmus.app.doctor.finding import Finding, State

__all__ = ["Finding", "State", "examine"]
