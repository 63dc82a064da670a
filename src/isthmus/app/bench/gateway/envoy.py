"""What Envoy is told: keys, then roles, then limits by key, a log line in JSON, and the answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from isthmus.kernel.marks import Json

_CALLER = "x-caller"
_ROOM = 1_000_000_000


@dataclass(frozen=True, kw_only=True)
class PeerKey:
    """A key as peers know it: its role there is `viewer`, who may make the call, or `other`, who may not."""

    text: str
    id: str
    role: str
    slow: bool


def envoy_config(port: int, keys: Sequence[PeerKey], answer: bytes, *, log: Path) -> Json:
    """Return the configuration of one listener on a port of this machine."""
    manager: Json = {
        "@type": _type("network.http_connection_manager.v3.HttpConnectionManager", "filters"),
        "stat_prefix": "bench",
        "generate_request_id": True,
        "http_filters": [_keys(keys), _roles(), _limits(), _router()],
        "access_log": [_log(log)],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [_route(keys, answer)]}]},
    }
    network: Json = {"name": "http", "typed_config": manager}
    address: Json = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    listener: Json = {"name": "bench", "address": address, "filter_chains": [{"filters": [network]}]}
    return {"static_resources": {"listeners": [listener]}}


def _route(keys: Sequence[PeerKey], answer: bytes) -> Json:
    headers: list[Json] = [
        {"header": {"key": name, "value": value}}
        for name, value in (("content-type", "application/json"), ("cache-control", "no-store"))
    ]
    limits: Json = [{"actions": [{"request_headers": {"header_name": _CALLER, "descriptor_key": "caller"}}]}]
    return {
        "match": {"prefix": "/"},
        "direct_response": {"status": 200, "body": {"inline_string": answer.decode()}},
        "response_headers_to_add": headers,
        "typed_per_filter_config": {"envoy.filters.http.local_ratelimit": {**_limiting(keys), "rate_limits": limits}},
    }


def _keys(keys: Sequence[PeerKey]) -> Json:
    credentials: list[Json] = [{"key": each.text, "client": f"{each.role}-{each.id}"} for each in keys]
    return _filter(
        "api_key_auth",
        {
            "@type": _type("http.api_key_auth.v3.ApiKeyAuth", "filters"),
            "credentials": credentials,
            "key_sources": [{"header": "Authorization"}],
            "forwarding": {"header": _CALLER, "hide_credentials": True},
        },
    )


def _roles() -> Json:
    viewer: Json = {"header": {"name": _CALLER, "string_match": {"prefix": "viewer-"}}}
    policy: Json = {
        "permissions": [{"and_rules": {"rules": [{"header": {"name": ":method", "string_match": {"exact": "GET"}}}]}}],
        "principals": [viewer],
    }
    return _filter(
        "rbac",
        {"@type": _type("http.rbac.v3.RBAC", "filters"), "rules": {"action": "ALLOW", "policies": {"viewers": policy}}},
    )


def _limits() -> Json:
    """Return the filter that does nothing until the route says which limits hold."""
    prefix: Json = {"@type": _type("http.local_ratelimit.v3.LocalRateLimit", "filters"), "stat_prefix": "limits"}
    return _filter("local_ratelimit", prefix)


def _limiting(keys: Sequence[PeerKey]) -> dict[str, Json]:
    """Return the limits: one bucket for each caller that comes, and a small one for each that is slow."""
    slow: list[Json] = [_bucket(f"{each.role}-{each.id}", 1, "3600s") for each in keys if each.slow]
    return {
        "@type": _type("http.local_ratelimit.v3.LocalRateLimit", "filters"),
        "stat_prefix": "limits",
        "token_bucket": {"max_tokens": _ROOM, "tokens_per_fill": _ROOM, "fill_interval": "1s"},
        "filter_enabled": {"default_value": {"numerator": 100}},
        "filter_enforced": {"default_value": {"numerator": 100}},
        "descriptors": [*slow, _bucket("", 1_000_000, "1s")],
        "enable_x_ratelimit_headers": "DRAFT_VERSION_03",
        "max_dynamic_descriptors": 2_000,
    }


def _bucket(caller: str, tokens: int, seconds: str) -> Json:
    entry: dict[str, Json] = {"key": "caller", "value": caller} if caller else {"key": "caller"}
    return {
        "entries": [entry],
        "token_bucket": {"max_tokens": tokens, "tokens_per_fill": tokens, "fill_interval": seconds},
    }


def _router() -> Json:
    return _filter("router", {"@type": _type("http.router.v3.Router", "filters")})


def _log(path: Path) -> Json:
    fields: Json = {
        "at": "%START_TIME%",
        "id": "%REQ(X-REQUEST-ID)%",
        "caller": f"%REQ({_CALLER})%",
        "method": "%REQ(:METHOD)%",
        "path": "%REQ(:PATH)%",
        "status": "%RESPONSE_CODE%",
        "micros": "%DURATION%",
        "address": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
        "agent": "%REQ(USER-AGENT)%",
    }
    return {
        "name": "envoy.access_loggers.file",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
            "path": str(path),
            "log_format": {"json_format": fields},
        },
    }


def _filter(name: str, config: Json) -> Json:
    return {"name": f"envoy.filters.http.{name}", "typed_config": config}


def _type(name: str, kind: str) -> str:
    return f"type.googleapis.com/envoy.extensions.{kind}.{name}"
