"""Circuit breaking and retry budgets of one upstream, on a clock of seconds that never goes back.

closed      calls pass; failures in a row, or a share of recent calls that fail, open it
open        nothing passes until its time is over, which doubles with each opening in a row
half-open   one call at a time passes; a few good ones close it, a bad one opens it again
"""

from collections import deque
from dataclasses import dataclass
from typing import Literal, TypeAlias

State: TypeAlias = Literal["closed", "open", "half-open"]


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """How much failure is borne. `share` counts over the last `window_s` seconds once there are `calls_min` calls."""

    in_a_row: int = 5
    share: float = 0.5
    calls_min: int = 20
    window_s: float = 10.0
    open_s: float = 5.0
    open_s_max: float = 60.0
    good_to_close: int = 2


class Breaker:
    """The circuit breaker of one upstream at one worker."""

    def __init__(self, tolerance: Tolerance) -> None:
        """It begins closed."""
        self._tolerance = tolerance
        self._recent: deque[tuple[float, bool]] = deque()
        self._failed_recently = 0
        self._in_a_row = 0
        self._opened_at: float | None = None
        self._openings = 0
        self._trying = False
        self._good = 0

    def state(self, now: float) -> State:
        """Return how it stands."""
        if self._opened_at is None:
            return "closed"
        return "open" if now < self._opened_at + self.open_s else "half-open"

    @property
    def open_s(self) -> float:
        """How long it stays open, in seconds."""
        return min(self._tolerance.open_s_max, self._tolerance.open_s * 2 ** max(0, self._openings - 1))

    def retry_after_s(self, now: float) -> float:
        """Return after how many seconds it may let a call pass."""
        return 0.0 if self._opened_at is None else max(0.0, self._opened_at + self.open_s - now)

    def admit(self, now: float) -> bool:
        """Tell whether a call may pass; one that may is told of by `succeeded`, `failed` or `abandoned`."""
        match self.state(now):
            case "closed":
                return True
            case "open":
                return False
            case "half-open":
                if self._trying:
                    return False
                self._trying = True
                return True

    def succeeded(self, now: float) -> None:
        """Hear that a call was answered."""
        self._trying = False
        self._in_a_row = 0
        if self._opened_at is None:
            self._note(now, failed=False)
        elif self.state(now) == "half-open":
            self._good += 1
            if self._good >= self._tolerance.good_to_close:
                self._opened_at, self._openings = None, 0
                self._recent.clear()
                self._failed_recently = 0

    def failed(self, now: float) -> None:
        """Hear that a call was not answered, or answered by a failure of the upstream."""
        self._trying = False
        self._in_a_row += 1
        if self._opened_at is not None:
            if self.state(now) == "half-open":
                self._open(now)
            return
        self._note(now, failed=True)
        calls = len(self._recent)
        many = calls >= self._tolerance.calls_min and self._failed_recently >= self._tolerance.share * calls
        if many or self._in_a_row >= self._tolerance.in_a_row:
            self._open(now)

    def abandoned(self) -> None:
        """Hear that a call ended for a reason that says nothing of the upstream: its caller went away."""
        self._trying = False

    def _open(self, now: float) -> None:
        self._opened_at, self._good = now, 0
        self._openings += 1

    def _note(self, now: float, *, failed: bool) -> None:
        self._recent.append((now, failed))
        self._failed_recently += failed
        while self._recent[0][0] <= now - self._tolerance.window_s:
            self._failed_recently -= self._recent.popleft()[1]


class RetryAllowance:
    """Retries are at most a share of the calls: each call earns a part of a retry, and unspent ones do not pile up."""

    def __init__(self, *, share: float = 0.2, saved_max: float = 10.0) -> None:
        """Nothing is earned yet."""
        self._share, self._saved_max = share, saved_max
        self._saved = 0.0

    def called(self) -> None:
        """Hear of a call that is no retry."""
        self._saved = min(self._saved_max, self._saved + self._share)

    def take(self) -> bool:
        """Tell whether a call may be repeated, and count it."""
        if self._saved < 1.0 - 1e-9:
            return False
        self._saved -= 1.0
        return True
