"""A route that asks for a fresh proof of the person behind the call gets one."""

from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

import pytest

from isthmus.auth.principal import Principal
from isthmus.gateway.decide import check_fresh
from isthmus.gateway.errors import FresherTokenNeeded, StepUpNeeded
from isthmus.gateway.problems import problem_headers
from tests.conftest import NOW

AGE_S = 900


def somebody(
    kind: Literal["key", "session", "token"],
    *,
    proven: datetime | None = None,
    mfa: datetime | None = None,
    user: UUID | None = None,
) -> Principal:
    """Return a caller."""
    return Principal(
        workspace=1,
        kind=kind,
        id=UUID(int=1),
        name="Ada",
        permissions=frozenset(),
        user=user,
        proven_at=proven,
        mfa_at=mfa,
    )


FRESH, OLD, ADA = NOW - timedelta(seconds=AGE_S), NOW - timedelta(seconds=AGE_S + 1), UUID(int=2)


@pytest.mark.parametrize(
    "caller",
    [
        somebody("session", proven=FRESH),
        somebody("session", proven=OLD, mfa=FRESH, user=ADA),
        somebody("token", proven=FRESH, user=ADA),
        somebody("token"),
        somebody("key"),
    ],
)
def test_a_fresh_proof_and_machines_pass(caller: Principal) -> None:
    check_fresh(caller, AGE_S, now=NOW)
    with pytest.raises((StepUpNeeded, FresherTokenNeeded)):
        check_fresh(somebody("session"), AGE_S, now=NOW)


@pytest.mark.parametrize(
    "caller",
    [
        somebody("session", proven=OLD, user=ADA),
        somebody("session", proven=FRESH, mfa=OLD, user=ADA),
        somebody("session", user=ADA),
    ],
)
def test_a_session_is_sent_to_prove_itself_by_what_it_has_shown_before(caller: Principal) -> None:
    with pytest.raises(StepUpNeeded) as refused:
        check_fresh(caller, AGE_S, now=NOW)
    assert (refused.value.status, refused.value.code) == (403, "step-up-needed")


def test_a_program_is_told_how_fresh_its_token_must_be() -> None:
    with pytest.raises(FresherTokenNeeded) as refused:
        check_fresh(somebody("token", proven=OLD, user=ADA), AGE_S, now=NOW)
    assert refused.value.status == 401
    ((name, value),) = problem_headers(refused.value)
    assert name == "www-authenticate"
    assert 'error="insufficient_user_authentication", max_age="900"' in value
