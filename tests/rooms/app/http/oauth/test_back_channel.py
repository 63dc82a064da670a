"""Programs are told that a session ended, by a token that they can verify, again until they take it."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlencode

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from isthmus.app.program import Program
from isthmus.app.signing_out import provider_of
from isthmus.auth.oauth.clients import CODE, REFRESH, ClientWish
from isthmus.auth.oauth.signing_out import (
    EVENT,
    TRIES_MAX,
    TYPE,
    tell_sign_outs,
    workspaces_with_sign_outs,
)
from isthmus.auth.sessions import end_open_session
from isthmus.kernel.ids import uuid_of
from isthmus.kernel.marks import Json
from isthmus.store.database import Scope
from isthmus.stream.outbound import Outbound
from tests.rooms.app.http.conftest import scope_of
from tests.rooms.app.http.oauth.conftest import House
from tests.rooms.app.http.oauth.program import Registered, claims_of, text
from tests.rooms.stream.alerts.receiving import Received, web_server

BACK, SCOPES = "https://app.test/back", ("openid", "sales:read")


def registered(house: House, url: str | None, *, scopes: tuple[str, ...] = SCOPES) -> Registered:
    """Register a program that is told there."""
    wish = ClientWish(name="Web", scopes=scopes, redirects=(BACK,), grants=(CODE, REFRESH), back_channel_logout=url)
    return house.register(wish)


async def told(program: Program, workspace: int, *, after_s: float = 0) -> int:
    """Tell what is due so many seconds from now."""
    now = datetime.now(UTC) + timedelta(seconds=after_s)
    scope = Scope(workspace=workspace, actor="system:sign-out", cause="sign-out", now=now)
    provider = provider_of(program)
    if workspace not in await workspaces_with_sign_outs(provider, now=now):
        return -1
    return await tell_sign_outs(provider, Outbound(["127.0.0.0/8"]), scope)


def verified(house: House, request: str) -> tuple[dict[str, object], dict[str, object]]:
    """Return header and claims of the token in a request."""
    head, _, body = request.partition("\r\n\r\n")
    assert "content-type: application/x-www-form-urlencoded" in head.lower()
    keys = KeySet.import_key_set(json.loads(house.site.caller().get("/oauth/jwks").body))
    token = jwt.decode(parse_qs(body)["logout_token"][0], keys, algorithms=["ES256"])
    return dict(token.header), dict(token.claims)


def test_a_session_that_ends_is_told_once_to_who_signed_in_by_it(house: House) -> None:
    async def work(program: Program) -> tuple[Received, dict[str, Json], Registered, list[int]]:
        async with web_server() as received:
            url = f"http://127.0.0.1:{received.port}/signed-out"
            web = await asyncio.to_thread(registered, house, url)
            quiet = await asyncio.to_thread(registered, house, None)
            cookie = await asyncio.to_thread(house.sign_in, "sales.viewer")
            made = await asyncio.to_thread(web.tokens, cookie)
            await asyncio.to_thread(quiet.tokens, cookie)
            claims = claims_of(text(made["id_token"]))
            before = await told(program, house.workspace)
            ending = urlencode({"id_token_hint": text(made["id_token"])})
            ended = await asyncio.to_thread(web.call, "GET", f"/oauth/end-session?{ending}")
            assert ended.status == 303
            counts = [before, await told(program, house.workspace), await told(program, house.workspace, after_s=9)]
            return received, claims, web, counts

    received, claims, web, counts = house.site.run(work)
    assert counts == [-1, 1, -1]
    (request,) = received.requests
    assert request.startswith("POST /signed-out HTTP/1.1")
    header, said = verified(house, request)
    assert header["typ"] == TYPE
    assert (said["iss"], said["aud"]) == (house.issuer, web.id)
    assert (said["sub"], said["sid"], said["events"]) == (claims["sub"], claims["sid"], {EVENT: {}})
    assert "nonce" not in said


@pytest.mark.parametrize(("status", "tries"), [("503 Away", TRIES_MAX), ("400 Bad Request", 1)])
def test_what_is_not_taken_is_told_again_and_given_up_in_the_audit_log(house: House, status: str, tries: int) -> None:
    async def work(program: Program) -> Received:
        async with web_server() as received:
            received.status = status
            url = f"http://127.0.0.1:{received.port}/signed-out"
            web = await asyncio.to_thread(registered, house, url)
            cookie = await asyncio.to_thread(house.sign_in, "sales.viewer")
            made = await asyncio.to_thread(web.tokens, cookie)
            session = uuid_of("sess", text(claims_of(text(made["id_token"]))["sid"]))
            async with program.database.transaction(scope_of(house.workspace)) as tx:
                await end_open_session(tx, session)
            assert await told(program, house.workspace) == 0
            if tries > 1:
                assert await told(program, house.workspace) == -1, "not again at once"
            for turn in range(1, TRIES_MAX + 1):
                await told(program, house.workspace, after_s=100_000 * turn)
            return received

    received = house.site.run(work)
    assert len(received.requests) == tries
    found = house.site.caller(house.site.key(house.workspace, "owner")).get("/api/v1/audit?q=action:sign-out.untold")
    (entry,) = found.rows
    details = entry["details"]
    assert isinstance(details, dict)
    assert (details["tries"], details["status"]) == (tries, int(status[:3]))


def test_where_nobody_may_be_told_is_refused_at_registration(house: House) -> None:
    owner = house.site.caller(house.site.key(house.workspace, "owner"))
    wish: Json = {
        "name": "Web",
        "scopes": ["openid"],
        "redirects": [BACK],
        "back_channel_logout": "http://app.test/out",
    }
    refused = owner.post("/api/v1/clients", wish)
    assert refused.status == 422
    assert {pointer for pointer, _ in refused.faults} == {"/back_channel_logout"}
    good = owner.post("/api/v1/clients", {**wish, "back_channel_logout": "https://app.test/out"})
    assert good.status == 201
    shown = owner.get(f"/api/v1/clients/{good.json['client_id']}").json
    assert shown["back_channel_logout"] == "https://app.test/out"
    assert house.site.caller().get("/.well-known/openid-configuration").json["backchannel_logout_supported"] is True
