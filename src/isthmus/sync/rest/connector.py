"""A connector from what is said of its vendor."""

from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from random import Random

from isthmus.kernel.marks import Json
from isthmus.store.observation import Observation
from isthmus.stream.limits import Rate
from isthmus.sync.abreast import SETTING
from isthmus.sync.calls import Rules, calling
from isthmus.sync.connector import (
    Authorise,
    Change,
    Connector,
    ConnectorError,
    Feed,
    Inbound,
    Leave,
    Raw,
    Session,
    Setting,
    freely,
    observations,
)
from isthmus.sync.rest.columns import expected, word, writable
from isthmus.sync.rest.described import Collection, Vendor
from isthmus.sync.rest.reading import RestSession
from isthmus.sync.rest.writing import body

_ANY = "absent number text truth list map null"
_DAY_S = 86_400
_PROVES = "What proves the calls of the webhook: see the connector's page."
_CONSENT = (
    Setting(name="client_id", about="Id of your app there, to connect by consent.", default=""),
    Setting(name="client_secret", about="Secret of that app.", secret=True, default=""),
)


def describe(
    vendor: Vendor,
    *,
    about: str,
    proven: str,
    allowances: tuple[Rate, ...],
    settings: tuple[Setting, ...] = (),
    cannot: Mapping[str, str] | None = None,
    together: Mapping[str, tuple[tuple[str, ...], ...]] | None = None,
    inbound: Inbound | None = None,
) -> Connector:
    """Return the connector of a vendor; `settings` are those beside the usual ones and those that sign in."""
    known = {each.name: each for each in vendor.feeds}
    rows = max(each.page_rows_max for each in vendor.feeds)

    def begin(
        given: dict[str, str], leave: Leave, authorise: Authorise | None = None
    ) -> AbstractAsyncContextManager[Session]:
        dice = Random(f"{vendor.name} {given.get('url')}")
        return session(vendor, given, dice=dice, page_rows=rows, leave=leave, authorise=authorise)

    def normalise(feed: str, raw: Raw) -> Iterable[Observation]:
        of = known[feed]
        said = [word(kind, columns, raw.body) for kind, columns in of.types.items()]
        return observations(vendor.name, raw, [*said, *(of.hook(raw.body) if of.hook else ())])

    def express(feed: str, change: Change) -> dict[str, Json]:
        return body(known[feed], change, current=None) if feed in known else {}

    return Connector(
        name=vendor.name,
        title=vendor.title,
        about=about,
        proven=proven,
        feeds=tuple(_feed(each) for each in vendor.feeds),
        settings=(
            Setting(name="url", about="Address of the interface.", default=vendor.url or None),
            *vendor.sign_in.settings,
            *(_CONSENT if vendor.oauth else ()),
            *settings,
            Setting(name="page_rows", about=f"Rows per request, at most {rows}.", default=str(rows)),
            Setting(name="overlap_s", about="Seconds each run goes back, for what is told late.", default="60"),
            *((SETTING,) if any(each.writes for each in vendor.feeds) else ()),
            *((Setting(name=inbound.secret, about=_PROVES, secret=True, default=""),) if inbound else ()),
        ),
        begin=begin,
        normalise=normalise,
        express=express,
        writable={
            kind: writable(each.types[kind]) for each in vendor.feeds for kind in each.writes_types if each.writes
        },
        together=together or {},
        allowances=allowances,
        cannot=cannot or {},
        inbound=inbound,
        oauth=vendor.oauth(begin=begin) if vendor.oauth else None,
    )


def table(settings: Mapping[str, str], name: str, *, allowed: Iterable[str]) -> dict[str, str]:
    """Return the numbers of theirs that a setting gives to words of ours, such as `1=new,2=open`.

    Raises ConnectorError.
    """
    pairs = [each.strip().partition("=") for each in (settings.get(name) or "").split(",") if each.strip()]
    found = {theirs.strip(): ours.strip() for theirs, _, ours in pairs}
    ours = tuple(allowed)
    if wrong := [theirs for theirs, word in found.items() if not theirs.isdecimal() or word not in ours]:
        fix = f"Give `{name}` such as 1={ours[0]}, with words of {', '.join(ours)}."
        raise ConnectorError(f"`{name}` gives {wrong[0]!r} no word that is known.", fix=fix)
    return found


def expects(of: Collection) -> dict[str, str]:
    """Return what rows of a feed hold: what the columns read, its own marks, and what is said beside."""
    found: dict[str, str] = {}
    for name, kinds in expected(of.columns):
        before = found.get(name)
        found[name] = kinds if before is None else " ".join(dict.fromkeys(f"{before} {kinds}".split()))
    own = [(of.id, "number text"), (of.stamp, "text number null"), (of.version, "text number null")]
    if of.deleted:
        own.append((of.deleted[0], "text number truth null"))
    for path, kinds in own:
        if path:
            found.setdefault(path.partition(".")[0], "map null" if "." in path else kinds)
    return dict.fromkeys(of.beside.split(), _ANY) | found | dict(of.kinds)


def _feed(of: Collection) -> Feed:
    return Feed(
        name=of.name,
        types=tuple(of.types),
        writes=of.writes_types if of.writes else (),
        deletes=of.deletes,
        page_rows_max=of.page_rows_max,
        expects=expects(of),
        settles_s=of.settles_s,
        scan_s=of.scan_s,
    )


@asynccontextmanager
async def session(
    vendor: Vendor,
    settings: Mapping[str, str],
    *,
    dice: Random,
    page_rows: int,
    leave: Leave = freely,
    authorise: Authorise | None = None,
) -> AsyncGenerator[RestSession]:
    """Open a session, whose requests carry what `authorise` returns, or else the key.

    Raises ConnectorError when the settings cannot be right.
    """
    try:
        size = int(settings.get("page_rows") or page_rows)
        overlap = timedelta(seconds=float(settings.get("overlap_s") or 60))
    except ValueError as error:
        raise ConnectorError("`page_rows` and `overlap_s` are numbers.", fix="Leave them out.") from error
    if not (1 < size <= page_rows and 0 <= overlap.total_seconds() <= _DAY_S):
        raise ConnectorError(f"`page_rows` is 2 to {page_rows}, and `overlap_s` at most a day.", fix="Leave both out.")
    url = (settings.get(vendor.domain) if authorise and vendor.domain else "") or settings.get("url") or vendor.url
    rules = Rules(wait_header=vendor.waits.lower())
    proof = _signing(vendor, settings, authorise)
    async with calling(url, title=vendor.title, dice=dice, leave=leave, authorise=proof, rules=rules) as calls:
        yield RestSession(calls, vendor, settings, page_rows=size, overlap=overlap)


def _signing(vendor: Vendor, settings: Mapping[str, str], authorise: Authorise | None) -> Authorise:
    """Return what gives the headers of every request: those of the vendor, and those that prove who we are."""

    async def proof(fresh: bool) -> Mapping[str, str]:  # noqa: FBT001 - as Calls asks it.
        shown = await authorise(fresh) if authorise else vendor.sign_in.headers(settings)
        return {**vendor.headers, **shown}

    return proof
