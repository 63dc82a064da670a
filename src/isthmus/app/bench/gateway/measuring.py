"""Rounds over all servers, and what came of them."""

import http.client
import platform
import ssl
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

from isthmus.app.bench import Bar, Outcome
from isthmus.app.bench.gateway.chain import chain_us
from isthmus.app.bench.gateway.envoy import PeerKey
from isthmus.app.bench.gateway.load import Loaded, LoadFailed, load
from isthmus.app.bench.gateway.many import many_callers
from isthmus.app.bench.gateway.peers import Peer, check_peers, envoy, nginx, versions
from isthmus.app.bench.gateway.site import FORBIDDEN, ROUTE, SLOW, UNKNOWN, Callers, Site, served

SECONDS, QUICK_SECONDS, WARM_S = 3, 1, 5
ROUNDS, QUICK_ROUNDS = 7, 3
NGINX_MAX, ENVOY_MAX, TOKEN_MAX, TLS_MAX, CHAIN_MAX, P95_MS_MAX = 0.8, 1.0, 1.1, 1.15, 0.2, 200.0
_SLACK = 0.5


@dataclass(frozen=True, kw_only=True)
class _Lane:
    """One server with what is sent to it."""

    urls: Sequence[str]
    pid: int
    headers: Sequence[str]
    stores: Sequence[int] = ()


def measure(*, quick: bool, say: Callable[[str], None]) -> Outcome:
    """Measure, with servers of its own. Raises PeerMissing."""
    check_peers()
    seconds, rounds = (QUICK_SECONDS, QUICK_ROUNDS) if quick else (SECONDS, ROUNDS)
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="isthmus-bench-")))
        home.chmod(0o711)
        site = stack.enter_context(served(home))
        answer = _answer(site)
        beside = stack.enter_context(nginx(home / "nginx", site.callers.keys, answer))
        local = stack.enter_context(envoy(home / "envoy", site.callers.keys, answer))
        lanes = _lanes(site, beside, local)
        for name, lane in lanes.items():
            _check(name, lane, site.callers)
            load(lane.urls, lane.headers, pid=lane.pid, home=home, seconds=WARM_S if name.startswith("isthmus") else 1)
        found: dict[str, list[Loaded]] = {name: [] for name in lanes}
        for number in range(rounds):
            for name, lane in lanes.items():
                loaded = load(lane.urls, lane.headers, pid=lane.pid, home=home, seconds=seconds, stores=lane.stores)
                _check_mix(name, lane, loaded)
                found[name].append(loaded)
            say(f"round {number + 1}: " + ", ".join(f"{name} {all_[-1].whole_us:.1f}" for name, all_ in found.items()))
        chain = chain_us(site)
        many = many_callers(site, home, quick=quick, say=say)
        return _outcome(found, chain=chain, many=many, rounds=rounds)


def _lanes(site: Site, beside: Peer, local: Peer) -> Mapping[str, _Lane]:
    keys, tokens = site.callers.headers(), site.callers.headers(tokens=True)
    plain, secure = site.plain, site.secure
    ours = [each.pid for each in site.engines.health() if each.pid is not None]
    theirs = [] if beside.store_pid is None else [beside.store_pid]
    return {
        "isthmus": _Lane(urls=[plain.url + ROUTE], pid=plain.child.pid, headers=keys, stores=ours),
        "nginx_lua": _Lane(urls=beside.urls[:1], pid=beside.pid, headers=keys, stores=theirs),
        "nginx_lua_one_script": _Lane(urls=beside.urls[1:], pid=beside.pid, headers=keys, stores=theirs),
        "envoy": _Lane(urls=local.urls, pid=local.pid, headers=keys),
        "isthmus_tokens": _Lane(urls=[plain.url + ROUTE], pid=plain.child.pid, headers=tokens, stores=ours),
        "isthmus_tls": _Lane(urls=[secure.url + ROUTE], pid=secure.child.pid, headers=keys, stores=ours),
    }


def _answer(site: Site) -> bytes:
    status, body = _get(site.plain.url + ROUTE, f"Bearer {site.callers.keys[0].text}")
    if status != 200:  # noqa: PLR2004 - the one good status.
        raise LoadFailed(f"our server answers {status}: {body[:300]!r}")
    return body


def _check(name: str, lane: _Lane, callers: Callers) -> None:
    """See that each kind of caller meets the status that is meant for it; a slow one the second time at the latest."""
    _open.clear()
    forbidden, slow = ([each.text for each in callers.keys if test(each)] for test in (_may_not, _is_slow))
    wanted = [(lane.headers[0], 200), *((f"Bearer {each}", 401) for each in callers.unknown)]
    wanted += [(f"Bearer {each}", 403) for each in forbidden] + [(f"Bearer {each}", 0) for each in slow]
    wanted += [(f"Bearer {each}", 429) for each in slow]
    for header, status in wanted:
        met = _get(lane.urls[0], header)[0]
        if status and met != status:
            raise LoadFailed(f"{name} answers {met}, not {status}")


def _may_not(key: PeerKey) -> bool:
    return key.role != "viewer"


def _is_slow(key: PeerKey) -> bool:
    return key.slow


def _check_mix(name: str, lane: _Lane, loaded: Loaded) -> None:
    wanted = (UNKNOWN + FORBIDDEN + SLOW) / len(lane.headers)
    if not wanted * _SLACK < loaded.refused < wanted / _SLACK:
        raise LoadFailed(f"{name} refused {loaded.refused:.3f} of all calls, {wanted:.3f} were to be refused")


_open: dict[str, http.client.HTTPConnection] = {}


def _get(url: str, authorization: str) -> tuple[int, bytes]:
    parts = urlsplit(url)
    connection = _open.get(parts.netloc)
    if connection is None:
        unchecked = ssl.create_default_context()
        unchecked.check_hostname, unchecked.verify_mode = False, ssl.CERT_NONE
        plain = parts.scheme == "http"
        connection = _open[parts.netloc] = (
            http.client.HTTPConnection(parts.netloc, timeout=30)
            if plain
            else http.client.HTTPSConnection(parts.netloc, timeout=30, context=unchecked)
        )
    connection.request(
        "GET", parts.path + (f"?{parts.query}" if parts.query else ""), headers={"Authorization": authorization}
    )
    answer = connection.getresponse()
    return answer.status, answer.read()


def _outcome(found: Mapping[str, Sequence[Loaded]], *, chain: float, many: Mapping[str, float], rounds: int) -> Outcome:
    outcome = Outcome(bench="gateway", rounds=rounds)
    for name, loads in found.items():
        cpu = [each.whole_us for each in loads]
        outcome.figures |= {
            f"{name}_server_cpu_us": round(median(each.cpu_us for each in loads), 2),
            f"{name}_cpu_us": round(median(cpu), 2),
            f"{name}_cpu_us_min": round(min(cpu), 2),
            f"{name}_cpu_us_max": round(max(cpu), 2),
            f"{name}_p95_ms": round(median(each.p95_ms for each in loads), 2),
        }
    whole = outcome.figures["isthmus_server_cpu_us"]
    outcome.figures |= {"chain_us": round(chain, 2), **{name: round(value, 2) for name, value in many.items()}}
    outcome.figures["to_nginx_lua_one_script"] = _ratio(found, "isthmus", "nginx_lua_one_script")
    outcome.bars = {
        "to_nginx_lua": Bar(value=_ratio(found, "isthmus", "nginx_lua"), limit=NGINX_MAX),
        "to_envoy": Bar(value=_ratio(found, "isthmus", "envoy"), limit=ENVOY_MAX),
        "token_to_key": Bar(value=_ratio(found, "isthmus_tokens", "isthmus"), limit=TOKEN_MAX),
        "tls_to_plain": Bar(value=_ratio(found, "isthmus_tls", "isthmus"), limit=TLS_MAX),
        "chain_to_server": Bar(value=round(chain / (whole - chain), 3), limit=CHAIN_MAX),
        "p95_ms_of_200_callers": Bar(value=round(many["many_p95_ms"], 1), limit=P95_MS_MAX),
    }
    outcome.peers = {
        **versions(),
        "uvicorn": version("uvicorn"),
        "httptools": version("httptools"),
        "Python": platform.python_version(),
    }
    return outcome


def _ratio(found: Mapping[str, Sequence[Loaded]], ours: str, theirs: str) -> float:
    """Return the median over rounds of ours to theirs in the same round."""
    pairs = zip(found[ours], found[theirs], strict=True)
    return round(median(one.whole_us / other.whole_us for one, other in pairs), 3)
