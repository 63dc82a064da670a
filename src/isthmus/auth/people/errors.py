"""What people meet on their way in. The refusal of a sign-in is one and the same, whatever was wrong."""

from isthmus.kernel.errors import Conflicting, Denied, Fault, Invalid, Limited, NotFound, Unauthenticated, Unavailable


class SignInRefused(Unauthenticated):
    """What was given proves nobody; which part of it was wrong is not told."""

    code, title = "sign-in-refused", "This does not sign you in"


class SignInPaused(Limited):
    """Too many tries failed for this account or from this address; each further one makes the pause longer."""

    code, title = "sign-in-paused", "Too many tries failed"

    def __init__(self, seconds: int) -> None:
        """`seconds` is how long it is to the next try."""
        super().__init__(f"Too many tries failed. The next one is taken in {seconds} s.", fix="Wait, then try again.")
        self.seconds = seconds


class SignInBusy(Unavailable):
    """More people sign in at this moment than passwords can be checked."""

    code, title = "sign-in-busy", "Too many people sign in at this moment"


class WeakPassword(Invalid):
    """The password is too short, too long or one of those that are tried first."""

    code, title = "weak-password", "The password is not strong enough"

    def __init__(self, detail: str, *, fix: str) -> None:
        """Point at the field."""
        super().__init__(detail, fix=fix, faults=(Fault(pointer="/password", code=self.code, detail=detail),))


class LoginMissing(NotFound):
    """There is no such user."""

    code, title = "user-missing", "There is no such user"


class LoginTaken(Conflicting):
    """Somebody with this e-mail address is a user already."""

    code, title = "user-taken", "The user exists"


class OwnLogin(Conflicting):
    """Nobody shuts themselves out or changes their own roles."""

    code, title = "own-user", "This is your own account"


class FactorNeeded(Conflicting):
    """The password is too short to stand alone, so that the last second factor has to stay."""

    code, title = "factor-needed", "A second factor is needed"


class PeopleOnly(Denied):
    """This is for people with an account of their own; keys and one-time links have none."""

    code, title = "people-only", "This is for people with an account"


class UpstreamRefused(Unauthenticated):
    """The identity provider's answer was refused, or proves somebody who has no account here."""

    code, title = "upstream-refused", "The identity provider did not sign you in"
