"""Foreign programs drive every flow and check what we answer: openid-client and oauth4webapi."""

from typing import cast
from urllib.parse import urlsplit

import pytest
from joserfc.jwk import ECKey

from isthmus.auth.oauth.clients import CODE, DEVICE, EXCHANGE, MACHINE, REFRESH, ClientWish
from isthmus.kernel.marks import Json
from tests.rooms.app.http.oauth.conftest import Drive, House
from tests.rooms.app.http.oauth.program import Registered, text

BACK, BYE, RESOURCE = "https://app.test/back", "https://app.test/bye", "https://warehouse.test/"
ALL = ("openid", "profile", "offline_access", "sales:read")


@pytest.fixture
def web(house: House) -> Registered:
    """A program on a server, which serves a resource of its own too."""
    return house.register(
        ClientWish(
            name="Web", scopes=ALL, redirects=(BACK,), after_sign_out=(BYE,), audience=RESOURCE, grants=(CODE, REFRESH)
        )
    )


def machine_of(house: House) -> tuple[Registered, dict[str, str]]:
    """Register a program with keys, and return its private key."""
    key = ECKey.generate_key("P-256", {"kid": "one", "alg": "ES256", "use": "sig"})
    public = cast("dict[str, Json]", key.as_dict(private=False))
    wish = ClientWish(
        name="Machine",
        method="private_key_jwt",
        grants=(MACHINE, EXCHANGE),
        scopes=("sales:read",),
        keys={"keys": [public]},
    )
    return house.register(wish), cast("dict[str, str]", key.as_dict(private=True))


def test_openid_client_accepts_our_answer_in_every_flow(house: House, drive: Drive, web: Registered) -> None:
    cookie = house.sign_in("sales.viewer")
    machine, key = machine_of(house)
    mobile = house.register(ClientWish(name="Mobile", method="none", scopes=ALL, redirects=(BACK,)))
    television = house.register(ClientWish(name="TV", method="none", scopes=ALL, grants=(DEVICE, REFRESH)))
    done = drive(
        "openid_client.mjs",
        {
            "issuer": house.issuer,
            "cookie": cookie,
            "back": BACK,
            "bye": BYE,
            "resource": RESOURCE,
            "web": {"id": web.id, "secret": web.secret},
            "mobile": {"id": mobile.id},
            "television": {"id": television.id},
            "machine": {"id": machine.id, "key": {**key}},
        },
    )
    out = urlsplit(text(done.pop("end_session_url")))
    ended = web.call("GET", f"{out.path}?{out.query}")
    assert ended.status == 303
    assert ended.headers["location"] == BYE
    assert web.call("GET", "/api/v1/me", headers={"cookie": cookie}).status == 401
    assert text(done.pop("code")).startswith("sess_")
    assert done == {
        "userinfo": "Tester",
        "refresh": True,
        "introspection": True,
        "revocation": True,
        "pushed": True,
        "dpop_type": "dpop",
        "dpop_call": 200,
        "dpop_userinfo": True,
        "private_key_jwt": 200,
        "exchange": "sales:read",
        "resource": RESOURCE,
        "device": True,
    }


def test_oauth4webapi_accepts_our_answers(house: House, drive: Drive, web: Registered) -> None:
    cookie = house.sign_in("sales.viewer")
    bearer = text(web.tokens(cookie)["access_token"])
    done = drive(
        "oauth4webapi.mjs",
        {
            "issuer": house.issuer,
            "cookie": cookie,
            "back": BACK,
            "bearer": bearer,
            "bearer_client": web.id,
            "web": {"id": web.id, "secret": web.secret},
        },
    )
    assert done["id_token"] == done.pop("userinfo")
    assert text(done.pop("id_token")).startswith("sess_")
    assert done == {
        "same_discovery": True,
        "type": "dpop",
        "bound": 200,
        "downgraded": "invalid_token",
        "jwt_at": 200,
        "rfc9068": True,
        "refreshed": True,
        "active": False,
    }
