"""The stage of threats: it hears every call of a worker, and holds back whom a verdict stands against.

What it costs an ordinary call are a few looks into dictionaries; whatever takes longer happens when a call failed, when
a threshold is crossed, or once in a window of ten seconds.
"""

from collections.abc import Awaitable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from uuid import UUID

from msgspec import Struct

from isthmus.auth.principal import Principal
from isthmus.gateway.decide import Asked, Standing, check_fresh
from isthmus.gateway.threats.callers import WINDOW, Caller
from isthmus.gateway.threats.ladder import (
    STEPS,
    Counts,
    Detector,
    Finding,
    Mode,
    Step,
    SuspiciousText,
    Threat,
    ThreatBlocked,
    ThreatSlowed,
    mode_of,
)
from isthmus.gateway.threats.networks import NOBODY, Network, is_own, named
from isthmus.gateway.threats.patterns import Family, family_in, family_in_query
from isthmus.gateway.threats.profile import Profile
from isthmus.gateway.threats.window import Window

REMEMBERED_MAX, CLEAN_MAX, WINDOWS_MAX = 20_000, 4_096, 5_000
SLOW = timedelta(seconds=1)
HELD_STRIKE = 50
"""Whoever keeps calling while held back goes a step up after so many calls."""
FRESH_S = 60
_FAILED = 400
_OK = 300
_GOOD = 200
_MISSED = frozenset({403, 404})
_HELD = "threat:"
_DIGITS = frozenset("0123456789")
_NUMBER_MAX = 20


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What is done to a subject until a moment."""

    workspace: int
    subject: str
    detector: Detector
    step: Step
    since: datetime
    until: datetime


@dataclass(frozen=True)
class Honey:
    """Keys and ids of records that nobody has a reason to use."""

    keys: frozenset[UUID] = frozenset()
    records: frozenset[str] = frozenset()


@dataclass(slots=True)
class _Held:
    next_at: datetime
    calls: int = 0
    by: dict[str, Verdict] = field(default_factory=dict[str, Verdict])


class Threats:
    """Detectors and verdicts of one worker. `pending` gathers what is to be written down and shared."""

    def __init__(self, *, modes: Mapping[Detector, Mode] | None = None) -> None:
        """`modes` hold in every workspace that set none of its own."""
        self.pending: dict[tuple[int, Detector, str], Threat] = {}
        self.profiles: dict[tuple[int, str], Profile] = {}
        self.windows: list[tuple[int, Window]] = []
        self._default: Mapping[Detector, Mode] = dict(modes) if modes else {}
        self._modes: dict[int, Mapping[Detector, Mode]] = {}
        self._honey: dict[int, Honey] = {}
        self._open: dict[tuple[int, Detector, str], Threat] = {}
        self._held: dict[tuple[int, str], _Held] = {}
        self._callers: dict[int, Caller] = {}
        self._by_subject: dict[tuple[int, str], Caller] = {}
        self._networks: dict[str, Network] = {}
        self._clean: set[bytes] = set()
        self._look_at = self._inspect
        self._shut = False

    def door(self, asked: Asked) -> None:
        """Raise ThreatBlocked for a network that is shut out; called before anything is proven."""
        if self._shut:
            held = self._held.get((NOBODY, f"network:{named(asked.client)}"))
            if held is not None:
                self._hold(asked, held)

    def admit(self, asked: Asked) -> Awaitable[None] | None:
        """Let the call pass; raises ThreatBlocked, ThreatSlowed, SuspiciousText and what asks for a fresh proof."""
        asked.inspect = self._look_at
        if asked.query and asked.query not in self._clean and asked.route.sender is None:
            self._ask(asked)
        if self._honey or self._held:
            self._judge(asked)

    def ended(self, asked: Asked, *, status: int, micros: int) -> None:  # noqa: C901 - a call of a function costs more.
        """Hear how a call ended."""
        del micros
        principal = asked.principal
        if principal is None:
            self._nobody(asked, status)
            return
        if asked.route.sender is not None:
            # What proves senders lies open in pages: it comes from everywhere, as fast as they are read.
            return
        caller = self._callers.get(id(principal))
        if caller is None or caller.principal is not principal:
            caller = self._known(asked, principal)
        now = asked.now
        if now >= caller.ends:
            self._roll(caller, now)
        if status >= _FAILED:
            self._failed(caller, asked, status)
            return
        caller.total += 1
        if asked.client == caller.client and asked.agent == caller.agent and not caller.newcomers:
            caller.seen_at = now
        else:
            self._located(caller, asked)
        used = caller.used.get(id(asked.route)) or caller.first(asked)
        left = used.left = used.left - 1
        if not left:
            self._found(caller.flooded(asked))
        if used.reads and status < _OK:
            path, query, things = asked.path, asked.query, caller.things
            things.add(hash(path) ^ hash(query) if query else path)
            if len(things) >= caller.things_max:
                self._found(caller.scraped(asked))
            if used.fields and path[-1:] in _DIGITS and path[-27:-26] != "_":
                self._numbered(caller, asked)

    def standing_for(self, asked: Asked) -> Standing | None:
        """Let calls pass that are the same while nothing stands against their caller, and hear of each."""
        principal, client, agent, path = asked.principal, asked.client, asked.agent, asked.path
        if principal is None or (asked.query and asked.query not in self._clean):
            return None
        callers, number, route = self._callers, id(principal), id(asked.route)
        thing = hash(path) ^ hash(asked.query) if asked.query else path
        counted = path[-1:] in _DIGITS and path.rpartition("/")[2].isdecimal()
        workspace, network = principal.workspace, f"network:{named(client)}"
        own, here, there = (workspace, f"{principal.kind}:{principal.id}"), (workspace, network), (NOBODY, network)
        steps = frozenset(path.split("/"))

        def passes(now: datetime) -> bool:
            del now
            held = self._held
            if held and (own in held or here in held or there in held):
                return False
            honey = self._honey.get(workspace) if self._honey else None
            return honey is None or (principal.id not in honey.keys and steps.isdisjoint(honey.records))

        def count(now: datetime) -> bytes:
            caller = callers.get(number)
            if caller is not None and caller.principal is principal and now < caller.ends and not caller.newcomers:
                used = caller.used.get(route)
                known = used is not None and used.left != 1 and thing in caller.things
                if used is not None and known and caller.client == client and caller.agent == agent:
                    # Nothing else happens to a call that is like the one before.
                    used.left -= 1
                    caller.total += 1
                    caller.seen_at = now
                    return b""
            self.ended(asked, status=_GOOD, micros=0)
            return b""

        return None if counted else Standing(passes=passes, count=count)

    def refuses(self, asked: Asked) -> bool:
        """Say nothing before a call: verdicts have steps of their own."""
        del asked
        return False

    def apply(self, verdicts: Iterable[Verdict]) -> None:
        """Let these verdicts stand and no others, besides those found here that are not written down yet."""
        before, self._held = self._held, {}
        own = (_verdict(each) for each in self.pending.values() if each.mode == "enforce")
        for each in (*verdicts, *own):
            self._stand(each, before.get((each.workspace, each.subject)))

    def configure(self, modes: Mapping[int, Mapping[Detector, Mode]], honey: Mapping[int, Honey]) -> None:
        """Take over the modes and the honey of all workspaces."""
        self._modes, self._honey = dict(modes), dict(honey)

    def forget(self, workspace: int, detector: Detector, subject: str) -> None:
        """Begin anew with a subject, because what was found was released."""
        self._open.pop((workspace, detector, subject), None)
        self.pending.pop((workspace, detector, subject), None)
        held = self._held.get((workspace, subject))
        if held is not None and held.by.pop(detector, None) is not None and not held.by:
            del self._held[workspace, subject]

    def standing(self, workspace: int, subject: str) -> Step | None:
        """Return the hardest step that stands against a subject."""
        held = self._held.get((workspace, subject))
        steps = {each.step for each in held.by.values()} if held else ()
        return next((step for step in reversed(STEPS) if step in steps), None)

    def dirty(self) -> Iterable[tuple[int, str, Profile]]:
        """Return the profiles that changed since the last time, as of now."""
        for (workspace, subject), caller in self._by_subject.items():
            if caller.dirty:
                caller.dirty = False
                profile = caller.profile
                profile.calls += caller.total - caller.saved
                caller.saved = caller.total
                profile.last_seen = max(profile.last_seen, caller.seen_at or profile.last_seen)
                yield workspace, subject, profile

    def _numbered(self, caller: Caller, asked: Asked) -> None:
        tail = asked.path[asked.path.rfind("/") + 1 :]
        if tail.isdecimal() and len(tail) < _NUMBER_MAX:
            self._found(caller.counted(asked, int(tail)))

    def _roll(self, caller: Caller, now: datetime) -> None:
        if len(self.windows) < WINDOWS_MAX:
            window = caller.window(named(caller.client) or "")
            if window is not None:
                self.windows.append((caller.principal.workspace, window))
        self._found(caller.roll(now))

    def _failed(self, caller: Caller, asked: Asked, status: int) -> None:
        """Hear of a call that failed; those held back by a verdict are no sign of anything new."""
        principal = caller.principal
        if principal.id in self._honey.get(principal.workspace, _NO_HONEY).keys:
            self._honeyed(asked, principal, "key")
        if _held_back(asked):
            return
        caller.total += 1
        self._located(caller, asked)
        used = caller.used.get(id(asked.route)) or caller.first(asked)
        used.left -= 1
        if used.left == 0:
            self._found(caller.flooded(asked))
        if status in _MISSED:
            self._found(caller.failed(asked, status))

    def _located(self, caller: Caller, asked: Asked) -> None:
        """Hear of a call that comes from elsewhere than the last, or while others come from elsewhere."""
        if asked.client != caller.client or asked.agent != caller.agent:
            self._moved(caller, asked)
        else:
            caller.seen_at = asked.now
            caller.known += 1

    def _known(self, asked: Asked, principal: Principal) -> Caller:
        """Return what is remembered of a caller whose proof was read anew."""
        key = (principal.workspace, f"{principal.kind}:{principal.id}")
        caller = self._by_subject.get(key)
        if caller is None:
            if len(self._by_subject) >= REMEMBERED_MAX:
                self._by_subject.clear()
                self._callers.clear()
            profile = self.profiles.pop(key, None) or Profile(first_seen=asked.now, last_seen=asked.now)
            caller = Caller(principal, key[1], profile, ends=asked.now + WINDOW)
            caller.things_max = caller.threshold("things", asked.now, 20)
            self._by_subject[key] = caller
        self._callers.pop(id(caller.principal), None)
        caller.principal = principal
        self._callers[id(principal)] = caller
        return caller

    def _moved(self, caller: Caller, asked: Asked) -> None:
        name = named(asked.client) or ""
        self._network(name).prove(caller.subject)
        self._found(caller.moved(asked, name))

    def _network(self, name: str) -> Network:
        network = self._networks.get(name)
        if network is None:
            if len(self._networks) >= REMEMBERED_MAX:
                self._networks.clear()
            network = self._networks[name] = Network(name)
        return network

    def _nobody(self, asked: Asked, status: int) -> None:
        name = named(asked.client)
        if name is not None and not _held_back(asked):
            self._found(self._network(name).heard(asked, status))

    def _ask(self, asked: Asked) -> None:
        family = family_in_query(asked.query)
        if family is not None:
            self._suspect(asked, family)
        elif len(self._clean) < CLEAN_MAX:
            self._clean.add(asked.query)
        else:
            self._clean.clear()

    def _inspect(self, asked: Asked, body: Struct | None) -> None:
        """Look at a body that fits the route's schema."""
        if asked.principal is None and asked.route.permission is None:
            asked.shown = hash(repr(body))
        family = family_in(body) if body is not None else None
        if family is not None:
            self._suspect(asked, family)

    def _suspect(self, asked: Asked, family: Family) -> None:
        """Take down a suspicious text; raises SuspiciousText where that is enforced."""
        principal = asked.principal
        workspace, subject = NOBODY, f"network:{named(asked.client)}"
        if principal is not None:
            workspace, subject = principal.workspace, f"{principal.kind}:{principal.id}"
        counts: Counts = {"family": family, "route": f"{asked.route.method} {asked.route.path}"}
        finding = Finding(
            workspace=workspace,
            detector="injection",
            subject=subject,
            reason=f"A text was sent that is written like {_CODE[family]}.",
            at=asked.now,
            since=asked.now,
            counts=counts,
            requests=(asked.request_id,),
        )
        mode = self._found(finding)
        asked.reasons.append(f"{_HELD}injection" if mode == "enforce" else f"{_HELD}injection:observed")
        if mode == "enforce":
            raise SuspiciousText("A text in the request is written like an attack.", fix="Write it in another way.")

    def _judge(self, asked: Asked) -> None:
        principal = asked.principal
        if principal is None:
            return
        workspace = principal.workspace
        honey = self._honey.get(workspace)
        if honey is not None:
            what = "key" if principal.id in honey.keys else ""
            if not what and honey.records and not honey.records.isdisjoint(asked.path.split("/")):
                what = "record"
            if what:
                self._honeyed(asked, principal, what)
        for subject in (f"{principal.kind}:{principal.id}", f"network:{named(asked.client)}"):
            held = self._held.get((workspace, subject))
            if held is not None:
                self._hold(asked, held)

    def _honeyed(self, asked: Asked, principal: Principal, what: str) -> None:
        """Block whoever used honey, and for a key its network too."""
        subject = f"{principal.kind}:{principal.id}"
        finding = Finding(
            workspace=principal.workspace,
            detector="honey",
            subject=subject,
            reason=f"A {what} was used that nobody has a reason to use.",
            at=asked.now,
            since=asked.now,
            counts={"what": what, "network": named(asked.client) or ""},
            requests=(asked.request_id,),
        )
        self._found(finding)
        name = named(asked.client)
        if what == "key" and name is not None:
            self._found(replace(finding, subject=f"network:{name}"))

    def _hold(self, asked: Asked, held: _Held) -> None:
        """Do to a call what stands against its caller."""
        now = asked.now
        verdicts = [each for each in held.by.values() if each.until > now]
        if not verdicts:
            return
        worst = max(verdicts, key=lambda each: STEPS.index(each.step))
        asked.reasons.append(f"{_HELD}{worst.detector}")
        if worst.step == "tag":
            asked.reasons[-1] = f"{_HELD}{worst.detector}:tagged"
            return
        left_s = max(1, int((worst.until - now).total_seconds()))
        if worst.step == "step_up" and asked.principal is not None and asked.principal.kind != "key":
            check_fresh(asked.principal, max(FRESH_S, int((now - worst.since).total_seconds())), now=now)
            asked.reasons.pop()
            return
        if worst.step in {"step_up", "slow"}:
            if now >= held.next_at:
                held.next_at = now + SLOW
                asked.reasons[-1] = f"{_HELD}{worst.detector}:slowed"
                return
            self._insists(held, worst, now)
            raise ThreatSlowed("Calls of this caller looked like an attack.", fix="Send one call a second.")
        raise ThreatBlocked(
            f"Calls of this caller or its network looked like an attack ({worst.detector}).",
            fix=f"Wait {left_s} s, or ask those who look after the gate to release it.",
        )

    def _insists(self, held: _Held, verdict: Verdict, now: datetime) -> None:
        held.calls += 1
        if held.calls % HELD_STRIKE == 0:
            threat = self._open.get((verdict.workspace, verdict.detector, verdict.subject))
            if threat is not None:
                self._found(replace(threat.finding, at=now, reason=threat.finding.reason))

    def _found(self, finding: Finding | None) -> Mode | None:
        """Add a finding to what is known of its subject, and let its verdict stand here at once."""
        if finding is None:
            return None
        own = self._modes.get(finding.workspace, self._default)
        mode = mode_of(own, finding.detector)
        if mode == "off":
            return mode
        if mode == "enforce" and finding.subject.startswith("network:") and is_own(finding.subject[8:]):
            mode = "observe"
        key = (finding.workspace, finding.detector, finding.subject)
        threat = self._open.get(key)
        if threat is None:
            if len(self._open) >= REMEMBERED_MAX:
                self._open.clear()
            threat = self._open[key] = Threat.begun(finding, mode)
            stronger = True
        else:
            stronger = threat.strike(finding, mode)
        self.pending[key] = threat
        if stronger and mode == "enforce":
            self._stand(_verdict(threat), self._held.get((finding.workspace, finding.subject)))
        return mode

    def _stand(self, verdict: Verdict, before: _Held | None) -> None:
        key = (verdict.workspace, verdict.subject)
        held = self._held.get(key)
        if held is None:
            held = self._held[key] = before or _Held(verdict.since)
            if before is not None:
                held.by = {}
        held.by[verdict.detector] = verdict
        self._shut = self._shut or verdict.workspace == NOBODY


_NO_HONEY = Honey()
_CODE: Mapping[Family, str] = {
    "sql": "SQL that goes on where a value ends",
    "markup": "markup that runs",
    "path": "a path that climbs",
    "template": "a template that is evaluated",
}


def _verdict(threat: Threat) -> Verdict:
    finding = threat.finding
    return Verdict(
        workspace=finding.workspace,
        subject=finding.subject,
        detector=finding.detector,
        step=threat.step,
        since=threat.struck_at,
        until=threat.until,
    )


def _held_back(asked: Asked) -> bool:
    """Tell whether a verdict refused the call; of those that were only watched, the reason says so."""
    reasons = asked.reasons
    return bool(reasons) and reasons[-1].startswith(_HELD) and reasons[-1].count(":") == 1
