"""Signatures of others: what third parties sign is accepted, what was altered, recorded or signed by others is not."""

import base64
import hmac
import shutil
import subprocess
from datetime import UTC, datetime, timedelta

import pytest
import stripe
from standardwebhooks.webhooks import Webhook

from isthmus.stream.webhooks.signing import headers_of, new_secret, secret_text
from isthmus.stream.webhooks.verifying import (
    BasicAuth,
    HmacHeader,
    HubSpot,
    SecretInAddress,
    SignatureRefused,
    StandardWebhooks,
    Stripe,
    message_id,
)
from tests.counterparts import require_npm

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
BODY = b'{"id": "evt_1", "type": "made"}'
SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()
SVIX = """
import { Webhook } from "svix";
const [secret, body, id, at, signature] = process.argv.slice(2);
const headers = { "webhook-id": id, "webhook-timestamp": at, "webhook-signature": signature };
const accepts = (text) => { try { new Webhook(secret).verify(text, headers); return true; } catch { return false; } };
console.log(accepts(body), accepts(body + " "));
"""


def standard(*, at: datetime = NOW, secret: str = SECRET) -> dict[str, str]:
    """Return what the library of Standard Webhooks signs."""
    signature = Webhook(secret).sign("msg_1", at, BODY.decode())
    return {"webhook-id": "msg_1", "webhook-timestamp": str(int(at.timestamp())), "webhook-signature": signature}


def test_what_the_library_of_standard_webhooks_signs_is_accepted() -> None:
    assert StandardWebhooks().verify(BODY, standard(), secrets=["whsec_AAAA", SECRET], now=NOW) == "msg_1"


def test_what_we_sign_is_accepted_by_that_library_and_by_the_client_of_svix() -> None:
    now = datetime.now(UTC)
    secret = new_secret(now=now)
    text, headers = secret_text(secret, "hmac"), headers_of("msg_1", BODY, [secret], "hmac", now=now)
    assert Webhook(text).verify(BODY, headers) == {"id": "evt_1", "type": "made"}
    home = require_npm({"svix": "2.5.0"})
    script = home / "verify.mjs"
    script.write_text(SVIX, "utf-8")
    given = (headers["webhook-id"], headers["webhook-timestamp"], headers["webhook-signature"])
    told = subprocess.run(
        [shutil.which("node") or "node", str(script), text, BODY.decode(), *given],
        check=False,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert (told.returncode, told.stdout.strip()) == (0, "true false"), told.stderr


def test_ed25519_is_proven_by_the_public_key_alone() -> None:
    secret = new_secret(now=NOW)
    headers = headers_of("msg_1", BODY, [secret], "ed25519", now=NOW)
    assert headers["webhook-signature"].startswith("v1a,")
    public = secret_text(secret, "ed25519")
    assert StandardWebhooks().verify(BODY, headers, secrets=[public], now=NOW) == "msg_1"
    with pytest.raises(SignatureRefused):
        StandardWebhooks().verify(BODY + b" ", headers, secrets=[public], now=NOW)


def test_a_key_of_one_kind_proves_no_signature_of_the_other() -> None:
    secret = new_secret(now=NOW)
    public = secret_text(secret, "ed25519")
    forged = base64.b64encode(
        hmac.digest(base64.b64decode(public.removeprefix("whpk_")), b"msg_1.%d.%s" % (NOW.timestamp(), BODY), "sha256")
    ).decode()
    headers = {"webhook-id": "msg_1", "webhook-timestamp": str(int(NOW.timestamp())), "webhook-signature": forged}
    for version in ("v1", "v1a", "v2", ""):
        with pytest.raises(SignatureRefused):
            StandardWebhooks().verify(
                BODY, {**headers, "webhook-signature": f"{version},{forged}"}, secrets=[public], now=NOW
            )


@pytest.mark.parametrize("away", [timedelta(seconds=301), timedelta(seconds=-301)])
def test_what_was_signed_too_long_ago_or_in_the_future_is_refused(away: timedelta) -> None:
    with pytest.raises(SignatureRefused):
        StandardWebhooks().verify(BODY, standard(), secrets=[SECRET], now=NOW + away)


@pytest.mark.parametrize(
    "changed",
    [
        {"webhook-id": "msg_2"},
        {"webhook-id": ""},
        {"webhook-timestamp": "1"},
        {"webhook-timestamp": "-5"},
        {"webhook-timestamp": "9" * 500},
        {"webhook-timestamp": "१२३"},
        {"webhook-signature": "v1,"},
        {"webhook-signature": "v1,!!!"},
        {"webhook-signature": "v1,\xff"},
    ],
)
def test_headers_that_were_altered_are_refused(changed: dict[str, str]) -> None:
    with pytest.raises(SignatureRefused):
        StandardWebhooks().verify(BODY, {**standard(), **changed}, secrets=[SECRET], now=NOW)


@pytest.mark.parametrize("secrets", [[], ["whsec_not base64"], ["whsec_"], ["x"]])
def test_without_the_right_secret_nothing_is_proven(secrets: list[str]) -> None:
    with pytest.raises(SignatureRefused):
        StandardWebhooks().verify(BODY, standard(), secrets=secrets, now=NOW)


def test_stripe_and_we_accept_the_same() -> None:
    now = datetime.now(UTC)
    at = int(now.timestamp())
    signature = hmac.digest(b"whsec_stripe", b"%d.%s" % (at, BODY), "sha256").hex()
    header = f"t={at},v0=old,v1={'0' * 64},v1={signature}"
    accepted = stripe.WebhookSignature.verify_header(BODY.decode(), header, "whsec_stripe", 300)  # pyright: ignore[reportUnknownMemberType] - loosely typed there.
    assert accepted
    assert Stripe().verify(BODY, {"stripe-signature": header}, secrets=["whsec_stripe"], now=now) == "evt_1"
    for wrong in (f"t={at - 301},v1={signature}", f"t={at}", f"v1={signature}", f"t={at},t={at},v1={signature}", ""):
        with pytest.raises(SignatureRefused):
            Stripe().verify(BODY, {"stripe-signature": wrong}, secrets=["whsec_stripe"], now=now)
    with pytest.raises(SignatureRefused):
        Stripe().verify(BODY + b" ", {"stripe-signature": header}, secrets=["whsec_stripe"], now=now)


def test_the_header_of_a_vendor_is_described_by_its_parts() -> None:
    digest = hmac.digest(b"s3cret", BODY, "sha256")
    hub = HmacHeader(header="x-hub-signature-256", prefix="sha256=", id_header="x-delivery")
    given = {"x-hub-signature-256": f"sha256={digest.hex()}", "x-delivery": "d-1"}
    assert hub.verify(BODY, given, secrets=["s3cret"], now=NOW) == "d-1"
    shop = HmacHeader(header="x-shop-hmac", encoding="base64")
    coded = base64.b64encode(digest).decode()
    assert shop.verify(BODY, {"x-shop-hmac": coded}, secrets=["old", "s3cret"], now=NOW) == ""
    at = str(int(NOW.timestamp()))
    signed = hmac.digest(b"s3cret", f"v0:{at}:".encode() + BODY, "sha256").hex()
    chat = HmacHeader(header="x-sig", prefix="v0=", stamp_header="x-at", before="v0:", separator=":")
    assert chat.verify(BODY, {"x-sig": f"v0={signed}", "x-at": at}, secrets=["s3cret"], now=NOW) == ""
    for verifier, wrong in (
        (hub, {"x-hub-signature-256": digest.hex()}),
        (hub, {}),
        (shop, {"x-shop-hmac": digest.hex()}),
        (chat, {"x-sig": f"v0={signed}", "x-at": str(int(at) - 301)}),
    ):
        with pytest.raises(SignatureRefused):
            verifier.verify(BODY, wrong, secrets=["s3cret"], now=NOW)


def test_hubspot_signs_the_address_and_the_millisecond_too() -> None:
    url, at = "https://us.example/in/conn_1?a=1", str(int(NOW.timestamp() * 1000) + 7)
    signed = base64.b64encode(hmac.digest(b"s3cret", f"POST{url}".encode() + BODY + at.encode(), "sha256")).decode()
    given = {"x-hubspot-signature-v3": signed, "x-hubspot-request-timestamp": at}
    assert HubSpot().verify_at(url, BODY, given, secrets=["old", "s3cret"], now=NOW) == ""
    late = NOW + timedelta(seconds=302)
    for address, body, headers, now in (
        ("https://us.example/in/conn_2?a=1", BODY, given, NOW),
        (url, BODY + b" ", given, NOW),
        (url, BODY, given | {"x-hubspot-request-timestamp": str(int(at) + 1)}, NOW),
        (url, BODY, given | {"x-hubspot-request-timestamp": "12"}, NOW),
        (url, BODY, {"x-hubspot-request-timestamp": at}, NOW),
        (url, BODY, given, late),
    ):
        with pytest.raises(SignatureRefused):
            HubSpot().verify_at(address, body, headers, secrets=["s3cret"], now=now)


def test_without_an_id_of_the_vendor_the_digest_of_the_body_tells_a_repetition() -> None:
    assert message_id("d-1", BODY) == "d-1"
    assert message_id("", BODY) == message_id("", BODY) != message_id("", BODY + b" ")


def test_a_name_and_a_password_or_a_secret_in_the_address_prove_vendors_that_sign_nothing() -> None:
    pair = base64.b64encode(b"hook:s3:cret").decode()
    known, body = BasicAuth(id_at=("meta", "id")), b'{"meta": {"id": "m-1"}}'
    for kind in ("Basic", "basic"):
        assert (
            known.verify(body, {"authorization": f"{kind} {pair}"}, secrets=["a:b", "hook:s3:cret"], now=NOW) == "m-1"
        )
    for strange in (b"[]", b'{"meta": {"id": 7}}', b"no json"):
        assert known.verify(strange, {"authorization": f"Basic {pair}"}, secrets=["hook:s3:cret"], now=NOW) == ""
    nameless = base64.b64encode(b"s3cret").decode()
    for wrong, secrets in (({}, ["hook:s3:cret"]), ({"authorization": pair}, ["hook:s3:cret"])):
        with pytest.raises(SignatureRefused):
            known.verify(body, wrong, secrets=secrets, now=NOW)
    with pytest.raises(SignatureRefused):
        known.verify(body, {"authorization": f"Basic {nameless}"}, secrets=["s3cret"], now=NOW)
    told = SecretInAddress()
    assert told.verify_at("https://us.example/in/conn_1?secret=a%26b", BODY, {}, secrets=["old", "a&b"], now=NOW) == ""
    for query in ("", "?secret=", "?secret=a", "?secret=a%26b&secret=a%26b", "?other=a%26b"):
        with pytest.raises(SignatureRefused):
            told.verify_at(f"https://us.example/in/conn_1{query}", BODY, {}, secrets=["a&b"], now=NOW)
    with pytest.raises(SignatureRefused):
        told.verify_at("https://us.example/in/conn_1?secret=", BODY, {}, secrets=[], now=NOW)


@pytest.mark.parametrize("late_s", [0, 299, 301])
def test_a_time_in_words_is_signed_as_it_stands(late_s: int) -> None:
    at = (NOW - timedelta(seconds=late_s)).isoformat().replace("+00:00", "Z")
    signed = base64.b64encode(hmac.digest(b"s3cret", at.encode() + BODY, "sha256")).decode()
    desk = HmacHeader(header="x-sig", encoding="base64", stamp_header="x-at", stamp_iso=True, separator="")
    if late_s <= 300:
        assert desk.verify(BODY, {"x-sig": signed, "x-at": at}, secrets=["s3cret"], now=NOW) == ""
        return
    with pytest.raises(SignatureRefused):
        desk.verify(BODY, {"x-sig": signed, "x-at": at}, secrets=["s3cret"], now=NOW)
