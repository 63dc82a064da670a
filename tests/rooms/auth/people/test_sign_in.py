"""Signing in: what proves somebody, what does not, and how long one has to wait after that."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest
from pyotp.totp import TOTP

from isthmus.auth.credentials import Credentials
from isthmus.auth.people.errors import FactorNeeded, SignInPaused, SignInRefused, WeakPassword
from isthmus.auth.people.factors import begin_totp, change_password, confirm_totp, remove_totp
from isthmus.auth.people.links import create_login_link, forget_factors, use_link
from isthmus.auth.people.logins import Login, disable_login, enable_login, find_login
from isthmus.auth.people.recovery import new_codes, use_code
from isthmus.auth.people.sign_in import People, Waiting, sign_in, sign_in_code, step_up, use_second_factor
from isthmus.auth.people.throttle import ACCOUNT_TRIES_FREE, ADDRESS_TRIES_FREE, PAUSE_S_MAX
from isthmus.auth.people.visitor import Visitor
from isthmus.auth.sessions import LinkSpent, NewSession, SessionEnded, list_sessions
from isthmus.store.database import Scope
from tests.conftest import NOW
from tests.rooms.auth.people.conftest import (
    CALLERS,
    DOMAINS,
    EMAIL,
    PASSWORD,
    ROUNDS,
    actions,
    invited,
    later,
)

OTHER = "another fine long sentence"


async def came_in(people: People, visitor: Visitor, password: str = PASSWORD, email: str = EMAIL) -> NewSession:
    """Sign in by a password alone."""
    session = await sign_in(people, visitor, email=email, password=password)
    assert isinstance(session, NewSession)
    return session


async def waiting(people: People, visitor: Visitor) -> Waiting:
    """Give the password of somebody who has a second factor."""
    step = await sign_in(people, visitor, email=EMAIL, password=PASSWORD)
    assert isinstance(step, Waiting)
    return step


async def authenticator(people: People, scope: Scope, visitor: Visitor, user: Login) -> TOTP:
    """Give the user an authenticator, and let the code of a minute ago be the one that confirmed it."""
    session = await came_in(people, visitor)
    async with people.database.transaction(scope) as tx:
        secret = await begin_totp(tx, people.vault, user.id)
        own = await Credentials(people.database, domains=DOMAINS).session(session.token, now=NOW)
        given = TOTP(secret).at(NOW)
        await confirm_totp(tx, people.vault, visitor, login=user.id, session=own.id, code=given)
    return TOTP(secret)


async def test_a_password_opens_a_session_of_its_user(
    people: People, scope: Scope, visitor: Visitor, user: Login
) -> None:
    session = await came_in(people, visitor, email="  ADA@Example.com ")
    own = await Credentials(people.database, domains=DOMAINS, vault=people.vault).session(session.token, now=NOW)
    assert (own.user, own.name, own.workspace, own.methods) == (user.id, "Ada Byron", scope.workspace, {"pwd"})
    assert own.may("making:read")
    assert not own.may("making:write")
    assert (own.proven_at, own.mfa_at) == (NOW, None)


@pytest.mark.parametrize(
    ("email", "password"),
    [(EMAIL, "wrong"), ("nobody@example.com", PASSWORD), ("", ""), (EMAIL, ""), ("no address", PASSWORD)],
)
async def test_whatever_is_wrong_is_answered_alike(
    people: People, visitor: Visitor, user: Login, email: str, password: str
) -> None:
    del user
    with pytest.raises(SignInRefused) as refused:
        await sign_in(people, visitor, email=email, password=password)
    assert refused.value.detail == "This does not sign you in: address, password or code is wrong."


async def test_who_is_invited_or_disabled_is_answered_like_a_stranger(
    people: People, scope: Scope, visitor: Visitor, user: Login
) -> None:
    await invited(people, scope, email="new@example.com")
    async with people.database.transaction(scope) as tx:
        await disable_login(tx, people.vault, user.id, domains=DOMAINS, giver=None)
    for email in ("new@example.com", EMAIL):
        with pytest.raises(SignInRefused):
            await sign_in(people, visitor, email=email, password=PASSWORD)


async def test_every_try_is_in_the_audit_log(people: People, scope: Scope, visitor: Visitor, user: Login) -> None:
    del user
    before = len(await actions(people, scope))
    with pytest.raises(SignInRefused):
        await sign_in(people, visitor, email=EMAIL, password="wrong")
    await came_in(people, visitor)
    assert (await actions(people, scope))[before:] == ["sign-in.refused", "session.opened"]


async def test_after_five_failures_each_further_one_makes_the_pause_longer(people: People, visitor: Visitor) -> None:
    at, pauses = visitor, list[int]()
    for _ in range(40):
        try:
            await people.throttle.admit(replace(at, address=f"192.0.2.{len(pauses)}"), b"somebody")
        except SignInPaused as paused:
            pauses.append(paused.seconds)
            at = later(at, seconds=paused.seconds)
    assert pauses == sorted(pauses)
    assert pauses[0] <= 3
    assert PAUSE_S_MAX <= pauses[-1] <= PAUSE_S_MAX + 1


async def test_a_pause_holds_for_the_right_password_too_and_ends(people: People, visitor: Visitor, user: Login) -> None:
    del user
    for _ in range(ACCOUNT_TRIES_FREE + 1):
        with pytest.raises(SignInRefused):
            await sign_in(people, visitor, email=EMAIL, password="wrong")
    with pytest.raises(SignInPaused) as paused:
        await came_in(people, visitor)
    at = later(visitor, seconds=paused.value.seconds)
    await came_in(people, at)
    for _ in range(ACCOUNT_TRIES_FREE):
        with pytest.raises(SignInRefused):
            await sign_in(people, at, email=EMAIL, password="wrong")


async def test_one_address_that_tries_many_accounts_has_to_wait(people: People, visitor: Visitor) -> None:
    for index in range(ADDRESS_TRIES_FREE + 1):
        await people.throttle.admit(visitor, b"%d" % index)
    with pytest.raises(SignInPaused):
        await people.throttle.admit(visitor, b"one more")
    await people.throttle.admit(replace(visitor, address="192.0.2.8"), b"one more")


async def test_of_many_tries_at_once_no_more_are_let_through_than_one_after_another(
    people: People, visitor: Visitor
) -> None:
    tries = [people.throttle.admit(visitor, b"ada") for _ in range(CALLERS)]
    results = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(each is None for each in results) == ACCOUNT_TRIES_FREE + 1
    assert sum(isinstance(each, SignInPaused) for each in results) == CALLERS - ACCOUNT_TRIES_FREE - 1


@pytest.mark.parametrize("drift_s", [-30, 0, 30])
async def test_a_code_of_one_step_either_way_is_taken(
    people: People, scope: Scope, visitor: Visitor, user: Login, drift_s: int
) -> None:
    own = await authenticator(people, scope, visitor, user)
    at = later(visitor, minutes=5)
    step = await waiting(people, at)
    session = await sign_in_code(people, at, token=step.token, code=own.at(at.now + timedelta(seconds=drift_s)))
    found = await Credentials(people.database, domains=DOMAINS).session(session.token, now=at.now)
    assert found.methods == {"pwd", "otp", "mfa"}
    assert found.mfa_at == at.now


@pytest.mark.parametrize("drift_s", [-90, 60, 90])
async def test_a_code_of_another_time_is_not(
    people: People, scope: Scope, visitor: Visitor, user: Login, drift_s: int
) -> None:
    own = await authenticator(people, scope, visitor, user)
    at = later(visitor, minutes=5)
    step = await waiting(people, at)
    with pytest.raises(SignInRefused):
        await sign_in_code(people, at, token=step.token, code=own.at(at.now + timedelta(seconds=drift_s)))


async def test_a_code_is_refused_the_second_time_and_so_is_the_one_before_it(
    people: People, scope: Scope, visitor: Visitor, user: Login
) -> None:
    own = await authenticator(people, scope, visitor, user)
    at = later(visitor, minutes=5)
    for used, given in ((False, at.now), (True, at.now), (True, at.now - timedelta(seconds=30))):
        step = await waiting(people, at)
        trying = sign_in_code(people, at, token=step.token, code=own.at(given))
        if used:
            with pytest.raises(SignInRefused):
                await trying
        else:
            await trying


async def test_of_32_who_show_one_code_at_once_one_gets_in(
    people: People, scope: Scope, visitor: Visitor, user: Login
) -> None:
    own = await authenticator(people, scope, visitor, user)

    async def use(at: Visitor) -> bool:
        async with people.database.transaction(at.scope(scope.workspace)) as tx:
            return await use_second_factor(tx, people.vault, user.id, own.at(at.now))

    for turn in range(ROUNDS):
        at = later(visitor, minutes=5 * (turn + 1))
        assert sum(await asyncio.gather(*(use(at) for _ in range(CALLERS)))) == 1


async def test_of_32_who_show_one_recovery_code_at_once_one_gets_in(people: People, scope: Scope, user: Login) -> None:
    async def use(code: str) -> bool:
        async with people.database.transaction(scope) as tx:
            return await use_code(tx, people.vault, user.id, code)

    for _ in range(ROUNDS):
        async with people.database.transaction(scope) as tx:
            codes = await new_codes(tx, people.vault, user.id)
        assert sum(await asyncio.gather(*(use(codes[0]) for _ in range(CALLERS)))) == 1


async def test_of_32_who_press_one_invitation_at_once_one_gets_in(
    people: People, scope: Scope, visitor: Visitor
) -> None:
    for turn in range(ROUNDS):
        token = await invited(people, scope, email=f"{turn}@example.com")
        tries = [use_link(people, visitor, token=token, password=f"{PASSWORD} {n}") for n in range(CALLERS)]
        results = await asyncio.gather(*tries, return_exceptions=True)
        assert sum(isinstance(each, NewSession) for each in results) == 1
        assert sum(isinstance(each, LinkSpent) for each in results) == CALLERS - 1


async def test_a_recovery_code_stands_in_for_the_second_factor_once(
    people: People, scope: Scope, visitor: Visitor, user: Login
) -> None:
    await authenticator(people, scope, visitor, user)
    async with people.database.transaction(scope) as tx:
        codes = await new_codes(tx, people.vault, user.id)
    assert len(set(codes)) == 10
    first = await waiting(people, visitor)
    await sign_in_code(people, visitor, token=first.token, code=codes[3].lower().replace("-", " "))
    second = await waiting(people, visitor)
    with pytest.raises(SignInRefused):
        await sign_in_code(people, visitor, token=second.token, code=codes[3])
    async with people.database.transaction(scope) as tx:
        assert (await find_login(tx, people.vault, user.id)).recovery_codes == 9


async def test_codes_cannot_be_guessed_behind_one_password(
    people: People, scope: Scope, visitor: Visitor, user: Login
) -> None:
    own = await authenticator(people, scope, visitor, user)
    at = later(visitor, minutes=5)
    step = await waiting(people, at)
    for _ in range(ACCOUNT_TRIES_FREE):
        with pytest.raises((SignInRefused, SignInPaused)):
            await sign_in_code(people, at, token=step.token, code="000000")
    with pytest.raises((SignInRefused, SignInPaused)):
        await sign_in_code(people, at, token=step.token, code=own.at(at.now))


async def test_the_second_factor_is_asked_for_within_five_minutes(
    people: People, scope: Scope, visitor: Visitor, user: Login
) -> None:
    own = await authenticator(people, scope, visitor, user)
    step = await waiting(people, visitor)
    late = later(visitor, minutes=5)
    with pytest.raises(SignInRefused):
        await sign_in_code(people, late, token=step.token, code=own.at(late.now))


@pytest.mark.parametrize("token", ["", "x", "1.", "99999999999.x", "-1.x", "1.y"])
async def test_what_is_no_token_goes_nowhere(people: People, visitor: Visitor, token: str) -> None:
    with pytest.raises(SignInRefused):
        await sign_in_code(people, visitor, token=token, code="000000")
    with pytest.raises(LinkSpent):
        await use_link(people, visitor, token=token, password=PASSWORD)


async def test_a_link_sets_a_password_once_and_ends_all_sessions(
    people: People, scope: Scope, visitor: Visitor, user: Login, session: NewSession
) -> None:
    async with people.database.transaction(scope) as tx:
        first = await create_login_link(tx, user.id)
        token = await create_login_link(tx, user.id)
    with pytest.raises(LinkSpent):
        await use_link(people, visitor, token=first, password=OTHER)
    with pytest.raises(WeakPassword):
        await use_link(people, visitor, token=token, password="ada byron ada byron")
    await use_link(people, visitor, token=token, password=OTHER)
    with pytest.raises(LinkSpent):
        await use_link(people, visitor, token=token, password=OTHER)
    with pytest.raises(SessionEnded):
        await Credentials(people.database, domains=DOMAINS).session(session.token, now=NOW)
    with pytest.raises(SignInRefused):
        await sign_in(people, visitor, email=EMAIL, password=PASSWORD)
    await came_in(people, visitor, OTHER)


async def test_a_link_alone_does_not_pass_by_a_second_factor(
    people: People, scope: Scope, visitor: Visitor, user: Login
) -> None:
    await authenticator(people, scope, visitor, user)
    async with people.database.transaction(scope) as tx:
        token = await create_login_link(tx, user.id)
    assert isinstance(await use_link(people, visitor, token=token, password="eight888 x"), Waiting)
    async with people.database.transaction(scope) as tx:
        await forget_factors(tx, user.id)
        token = await create_login_link(tx, user.id)
    assert isinstance(await use_link(people, visitor, token=token, password=PASSWORD), NewSession)


async def test_another_password_needs_the_present_one_and_ends_the_other_sessions(
    people: People, scope: Scope, visitor: Visitor, user: Login, session: NewSession
) -> None:
    credentials = Credentials(people.database, domains=DOMAINS)
    own = await credentials.session((here := await came_in(people, visitor)).token, now=NOW)
    change = partial(change_password, people, visitor, scope, login=user.id, session=own.id, password=OTHER)
    with pytest.raises(SignInRefused):
        await change(before="wrong")
    renewed = await change(before=PASSWORD)
    credentials.forget()
    assert (await credentials.session(renewed.token, now=NOW)).id == own.id
    for ended in (session, here):
        with pytest.raises(SessionEnded):
            await credentials.session(ended.token, now=NOW)


async def test_a_short_password_keeps_the_last_second_factor(
    people: People, scope: Scope, visitor: Visitor, user: Login
) -> None:
    await authenticator(people, scope, visitor, user)
    own = await Credentials(people.database, domains=DOMAINS).session(
        (await came_in_by_code(people, scope, visitor, user)).token, now=NOW
    )
    await change_password(people, visitor, scope, login=user.id, session=own.id, before=PASSWORD, password="eight888 x")
    with pytest.raises(FactorNeeded):
        async with people.database.transaction(scope) as tx:
            await remove_totp(tx, people.vault, user.id)


async def came_in_by_code(people: People, scope: Scope, visitor: Visitor, user: Login) -> NewSession:
    """Sign in by a password and a recovery code."""
    async with people.database.transaction(scope) as tx:
        codes = await new_codes(tx, people.vault, user.id)
    step = await waiting(people, visitor)
    return await sign_in_code(people, visitor, token=step.token, code=codes[0])


async def test_who_is_disabled_is_out_at_once_and_comes_back_by_signing_in(
    people: People, scope: Scope, visitor: Visitor, user: Login, session: NewSession
) -> None:
    async with people.database.transaction(scope) as tx:
        await disable_login(tx, people.vault, user.id, domains=DOMAINS, giver=None)
        assert await list_sessions(tx, limit=10) == []
    with pytest.raises(SessionEnded):
        await Credentials(people.database, domains=DOMAINS).session(session.token, now=NOW)
    async with people.database.transaction(scope) as tx:
        await enable_login(tx, people.vault, user.id, domains=DOMAINS, giver=None)
    with pytest.raises(SessionEnded):
        await Credentials(people.database, domains=DOMAINS).session(session.token, now=NOW)
    await came_in(people, visitor)


async def test_proving_oneself_again_gives_the_session_a_new_token(
    people: People, scope: Scope, visitor: Visitor, user: Login, session: NewSession
) -> None:
    credentials = Credentials(people.database, domains=DOMAINS)
    own = await credentials.session(session.token, now=NOW)
    at = later(visitor, minutes=40)
    prove = partial(step_up, people, at, workspace=scope.workspace, session=own.id, login=user.id)
    with pytest.raises(SignInRefused):
        await prove(given="wrong")
    renewed = await prove(given=PASSWORD)
    assert renewed.token != session.token
    assert renewed.expires_at == session.expires_at
    again = await credentials.session(renewed.token, now=at.now)
    assert (again.id, again.proven_at) == (own.id, at.now)
    credentials.forget()
    with pytest.raises(SessionEnded):
        await credentials.session(session.token, now=at.now)


async def test_names_addresses_and_secrets_are_sealed(
    people: People, scope: Scope, visitor: Visitor, user: Login
) -> None:
    own = await authenticator(people, scope, visitor, user)
    async with people.database.transaction(scope) as tx:
        codes = await new_codes(tx, people.vault, user.id)
        shown = ""
        for table in ("person_login", "login_link", "recovery_code", "session", "sign_in_step", "audit"):
            rows = await (await tx.connection.execute(f"select {table}::text from {table}")).fetchall()  # noqa: S608 - six names.
            shown += "".join(row[0] for row in rows)
    secrets = (EMAIL, "Ada", "Byron", PASSWORD, own.secret, codes[0].replace("-", ""))
    assert [each for each in secrets if each in shown or each.encode().hex() in shown] == []
