"""A customer's program: it speaks with the libraries of six vendors as their pages say, and knows nothing of us.

It runs in an environment of its own, `python libraries.py ADDRESS KEY LIBRARY…`, and sends its events under ids that
are the same in every run, so that a second run is the first one sent again. Snowplow's library gives ids of its own, so
it sends everything twice at once.
"""
# pyright: reportMissingImports=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# The libraries are installed for this program alone, and not beside our own.

import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from importlib import import_module

EVENTS_EACH = 30
EMAIL = "{}@customer.example"


def own_id(*parts: object) -> str:
    """Return an id that is the same in every run."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, "/".join(map(str, parts))))


def segment(address: str, key: str) -> None:
    """Segment: everything its library has."""
    from segment.analytics.client import Client  # noqa: PLC0415 - each library is imported by its own function.

    client = Client(key, host=address, gzip=True, on_error=fail)
    _spec(client, "segment")
    client.flush()
    client.join()


def rudderstack(address: str, key: str) -> None:
    """RudderStack: the same calls, always compressed."""
    from rudderstack.analytics.client import Client  # noqa: PLC0415 - each library is imported by its own function.

    client = Client(key, host=address, on_error=fail)
    _spec(client, "rudderstack")
    client.flush()
    client.join()


def _spec(client: object, name: str) -> None:
    calls = {each: getattr(client, each) for each in ("track", "identify", "group", "page", "screen", "alias")}
    user, visitor = f"{name}-user", f"{name}-visitor"
    calls["track"](anonymous_id=visitor, event="looked", message_id=own_id(name, "looked"))
    calls["identify"](user, {"email": EMAIL.format(name), "firstName": "Ada"}, message_id=own_id(name, "identify"))
    calls["alias"](visitor, user, message_id=own_id(name, "alias"))
    calls["group"](user, f"{name}-group", {"name": f"{name} group"}, message_id=own_id(name, "group"))
    calls["page"](user, "docs", "home", {"url": "https://x.example/?email=a@b.example"}, message_id=own_id(name, "p"))
    calls["screen"](user, "app", "start", message_id=own_id(name, "screen"))
    for number in range(EVENTS_EACH - 3):
        said = {"plan": "team", "seats": number, "email": EMAIL.format("other"), "nested": {"deep": True}}
        calls["track"](user, "exported", said, message_id=own_id(name, number))


def posthog(address: str, key: str) -> None:
    """PostHog: events, a person, a group, an alias, and a question about flags."""
    from posthog import Posthog  # noqa: PLC0415 - each library is imported by its own function.

    client = Posthog(key, host=address, gzip=True, on_error=fail)
    client.capture("looked", distinct_id="posthog-visitor", uuid=own_id("posthog", "looked"))
    client.set(distinct_id="posthog-user", properties={"email": EMAIL.format("posthog")})
    client.alias("posthog-visitor", "posthog-user")
    client.group_identify("company", "posthog-group", {"name": "posthog group"})
    for number in range(EVENTS_EACH - 1):
        client.capture(
            "exported",
            distinct_id="posthog-user",
            properties={"seats": number},
            groups={"company": "posthog-group"},
            uuid=own_id("posthog", number),
        )
    if client.get_all_flags("posthog-user"):
        fail("failed: a flag is set")
    client.flush()
    client.shutdown()


def mixpanel(address: str, key: str) -> None:
    """Mixpanel: buffered events, an import, a profile, a group and an alias."""
    from mixpanel import BufferedConsumer, Mixpanel  # noqa: PLC0415 - each library is imported by its own function.

    places = {f"{name}_url": f"{address}/{path}" for name, path in _MIXPANEL.items()}
    consumer = BufferedConsumer(max_size=20, **places)
    client = Mixpanel(key, consumer=consumer)
    client.track("mixpanel-visitor", "looked", {"$insert_id": own_id("mixpanel", "looked")})
    client.track("mixpanel-user", "$identify", {"$identified_id": "mixpanel-user", "$anon_id": "mixpanel-visitor"})
    client.people_set("mixpanel-user", {"$email": EMAIL.format("mixpanel"), "plan": "team"})
    client.group_set("company", "mixpanel-group", {"$name": "mixpanel group"})
    for number in range(EVENTS_EACH - 2):
        said = {"$insert_id": own_id("mixpanel", number), "company": "mixpanel-group", "seats": number}
        client.track("mixpanel-user", "exported", said)
    at = int(datetime(2026, 1, 5, tzinfo=UTC).timestamp())
    old = {"$insert_id": own_id("mixpanel", "import")}
    client.import_data("", "mixpanel-user", "imported", at, old, api_secret=key)
    consumer.flush()


_MIXPANEL = {"events": "track", "people": "engage", "groups": "groups", "import": "import"}


def amplitude(address: str, key: str) -> None:
    """Amplitude: events by HTTP V2, a person and a group."""
    from amplitude import Amplitude, BaseEvent, EventOptions, Identify  # noqa: PLC0415 - each library by itself.

    client = Amplitude(key)
    client.configuration.server_url = f"{address}/2/httpapi"
    client.configuration.flush_interval_millis = 100
    client.configuration.callback = _heard
    client.track(BaseEvent("looked", device_id="amplitude-device", insert_id=own_id("amplitude", "looked")))
    _flushed(client)
    client.identify(
        Identify().set("email", EMAIL.format("amplitude")),
        EventOptions(user_id="amplitude-user", device_id="amplitude-device"),
    )
    for number in range(EVENTS_EACH - 1):
        client.track(
            BaseEvent(
                "exported",
                user_id="amplitude-user",
                device_id="amplitude-device",
                event_properties={"seats": number},
                groups={"company": "amplitude-group"},
                insert_id=own_id("amplitude", number),
            )
        )
    _flushed(client)
    client.shutdown()


def _heard(event: object, code: int, message: str) -> None:
    if code != 200:
        fail(event, message)


def _flushed(client: object) -> None:
    for each in getattr(client, "flush")():  # noqa: B009 - the library is not typed.
        if each is not None:
            each.result()


def snowplow(address: str, key: str) -> None:
    """Snowplow: self-describing and structured events and page views by POST, and one by GET."""
    from snowplow_tracker import (  # noqa: PLC0415 - each library is imported by its own function.
        Emitter,
        PageView,
        SelfDescribing,
        SelfDescribingJson,
        StructuredEvent,
        Subject,
        Tracker,
    )

    known = Subject().set_user_id("snowplow-user").set_domain_user_id("snowplow-visitor")
    visitor = Subject().set_domain_user_id("snowplow-visitor")
    sent: list[object] = []
    said = {"on_success": sent.extend, "on_failure": fail}
    pixel = Emitter(f"{address}/{key}", method="get", **said)
    Tracker("web", pixel, subject=visitor).track(PageView("https://x.example/docs?token=1", "Docs"))
    pixel.send_events(list(sent))
    emitter = Emitter(f"{address}/{key}", batch_size=50, **said)
    post = Tracker("web", emitter, subject=known)
    post.track(StructuredEvent("shop", "added", label="plan", value=3))
    for number in range(EVENTS_EACH - 2):
        schema = "iglu:com.example/exported/jsonschema/1-0-0"
        post.track(SelfDescribing(SelfDescribingJson(schema, {"seats": number})))
    post.flush()
    emitter.send_events(sent[2:])
    if len(sent) != 2 * EVENTS_EACH:
        fail(len(sent))


def fail(*said: object) -> None:
    """Say what a library complains of."""
    sys.stderr.write(f"failed: {said}\n")
    sys.stderr.flush()


MODULES = {
    "segment": "segment.analytics.client",
    "rudderstack": "rudderstack.analytics.client",
    "snowplow": "snowplow_tracker",
}
LIBRARIES = {each.__name__: each for each in (segment, rudderstack, posthog, mixpanel, amplitude, snowplow)}

if __name__ == "__main__":
    place, write_key, *names = sys.argv[1:]
    for each in names:
        import_module(MODULES.get(each, each))  # threads that import the same at once can meet half of it
    with ThreadPoolExecutor(len(names)) as together:
        for done in [together.submit(LIBRARIES[each], place, write_key) for each in names]:
            done.result()
