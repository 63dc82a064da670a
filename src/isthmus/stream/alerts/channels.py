"""Where alerts are told: e-mail addresses and webhooks, and the messages that wait for them."""

import asyncio
import smtplib
import ssl
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.message import EmailMessage
from typing import Literal, LiteralString, Protocol, TypeAlias, cast
from urllib.parse import unquote, urlsplit
from uuid import UUID

import msgspec
from msgspec import Struct

from isthmus.audit.trace import trace
from isthmus.kernel.clock import milliseconds
from isthmus.kernel.errors import Conflicting, Invalid, IsthmusError, NotFound, Unavailable
from isthmus.kernel.ids import ENTROPY_BYTES, mint
from isthmus.store.database import Database, Scope, Transaction
from isthmus.stream.alerts.rules import Rule
from isthmus.stream.alerts.state import Alert, News, alert_of
from isthmus.stream.outbound import Outbound
from isthmus.vault import Vault, entropy

CHANNEL_PREFIX = "chan"
TRIES_MAX = 8
FIRST_WAIT_S, WAIT_S_MAX = 30, 3_600
LEASE = timedelta(minutes=2)
BATCH = 20
MAIL_S_MAX = 20.0
_LINES_MAX = 20
_OK_MAX = 299
_MAIL_PORTS = {"smtp": 587, "smtps": 465, "smtp+plain": 25}
Kind: TypeAlias = Literal["email", "webhook"]
_COLUMNS: LiteralString = """
select id, name, kind, created_at, created_by from alert_channel
where workspace = current_workspace() and removed_at is null
"""
_INSERT: LiteralString = """
insert into alert_channel (workspace, id, name, kind, target, created_at, created_by)
values (current_workspace(), %s, %s, %s, %s, %s, %s)
on conflict (workspace, name) where removed_at is null do nothing
"""
_REMOVE: LiteralString = """
update alert_channel set removed_at = %s, target = '' where workspace = current_workspace() and id = %s
"""
_NOTICE: LiteralString = """
insert into alert_notice (workspace, id, channel_id, rule, alerts, resolved, created_at, due_at)
values (current_workspace(), %s, %s, %s, %s, %s, %s, %s)
"""
_LEASE: LiteralString = """
update alert_notice n set tries = n.tries + 1, due_at = %(until)s
from (
    select workspace, id from alert_notice
    where workspace = current_workspace() and sent_at is null and given_up_at is null and due_at <= %(now)s
    order by due_at limit %(limit)s for update skip locked
) due, alert_channel c
where n.workspace = due.workspace and n.id = due.id and c.workspace = n.workspace and c.id = n.channel_id
  and c.removed_at is null
returning n.id, n.rule, n.alerts, n.resolved, n.tries, c.id, c.kind, c.target
"""
_SENT: LiteralString = """
update alert_notice set sent_at = %s, failure = null where workspace = current_workspace() and id = %s
"""
_FAILED: LiteralString = """
update alert_notice set failure = %s, due_at = %s, given_up_at = %s where workspace = current_workspace() and id = %s
"""


class ChannelMissing(NotFound):
    """There is no such channel."""

    code, title = "channel-missing", "There is no such channel"


class ChannelTaken(Conflicting):
    """A channel of that name is there."""

    code, title = "channel-taken", "The name is taken"


class ChannelRefused(Invalid):
    """The target is not one that can be told."""

    code, title = "channel-refused", "The channel's target is not usable"


class NotSent(Unavailable):
    """The message was not taken."""

    code, title = "not-sent", "The message was not taken"


class Channel(Struct, frozen=True, kw_only=True):
    """A channel without its target."""

    id: UUID
    name: str
    kind: Kind
    created_at: datetime
    created_by: str


@dataclass(frozen=True, kw_only=True)
class Message:
    """What is told: a line, and lines below it."""

    subject: str
    lines: tuple[str, ...]


class Telling(Protocol):
    """A way to tell something to a target; raises IsthmusError when it was not taken."""

    async def tell(self, target: str, message: Message) -> None:
        """Tell."""
        ...


@dataclass(frozen=True, kw_only=True)
class Mail:
    """E-mail through a server: `smtps://user:password@host:465`, `smtp://` with STARTTLS, `smtp+plain://` without."""

    url: str = field(repr=False)
    sender: str

    async def tell(self, target: str, message: Message) -> None:
        """Send one message."""
        mail = EmailMessage()
        mail["From"], mail["To"], mail["Subject"] = self.sender, target, message.subject
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content("\n".join(message.lines))
        try:
            await asyncio.to_thread(self._send, mail)
        except (OSError, smtplib.SMTPException) as error:
            raise NotSent(
                f"The mail server did not take it: {type(error).__name__}.", fix="Look at smtp_url."
            ) from error

    def _send(self, mail: EmailMessage) -> None:
        parts = urlsplit(self.url)
        host, port = parts.hostname or "", parts.port or _MAIL_PORTS.get(parts.scheme, 25)
        context = ssl.create_default_context()
        secure = parts.scheme == "smtps"
        server = (
            smtplib.SMTP_SSL(host, port, timeout=MAIL_S_MAX, context=context)
            if secure
            else smtplib.SMTP(host, port, timeout=MAIL_S_MAX)
        )
        with server:
            if parts.scheme == "smtp":
                server.starttls(context=context)
            if parts.username:
                server.login(unquote(parts.username), unquote(parts.password or ""))
            server.send_message(mail)


@dataclass(frozen=True)
class Webhook:
    """A POST of `{"text": …}`, which Slack and those that follow it understand."""

    outbound: Outbound

    async def tell(self, target: str, message: Message) -> None:
        """Send one message; what looks like a link or a mention in it is none."""
        text = "\n".join([f"*{_plain(message.subject)}*", *(_plain(each) for each in message.lines)])
        body = msgspec.json.encode({"text": text})
        status, _ = await self.outbound.post(target, body, headers={"content-type": "application/json"})
        if status > _OK_MAX:
            raise NotSent(f"The webhook answered {status}.", fix="Is its address still right?")


async def add_channel(
    tx: Transaction, vault: Vault, outbound: Outbound, *, name: str, kind: Kind, target: str
) -> Channel:
    """Add a channel; its target is sealed. Raises ChannelRefused, OutboundRefused and ChannelTaken."""
    if kind == "webhook":
        outbound.check(target)
    elif not _is_address(target):
        raise ChannelRefused("The target is no e-mail address.", fix="Write name@example.com.")
    scope = tx.scope
    own = mint(unix_ms=milliseconds(scope.now), entropy=entropy(ENTROPY_BYTES))
    vault.ensure(workspace=scope.workspace, subjects=[own])
    sealed = vault.seal_many(workspace=scope.workspace, values=[(own, target.encode())])[0]
    cursor = await tx.connection.execute(_INSERT, (own, name, kind, sealed, scope.now, scope.actor))
    if cursor.rowcount != 1:
        raise ChannelTaken(f"There is a channel named {name!r}.", fix="Choose another name.")
    details = {"name": name, "kind": kind}
    await trace(tx, action="channel.added", resource="alert_channel", record_id=own, details=details)
    return Channel(id=own, name=name, kind=kind, created_at=scope.now, created_by=scope.actor)


async def channels(tx: Transaction) -> list[Channel]:
    """Return all channels, oldest first."""
    cursor = await tx.connection.execute(_COLUMNS + " order by id")
    return [Channel(**dict(zip(Channel.__struct_fields__, row, strict=True))) for row in await cursor.fetchall()]


async def remove_channel(tx: Transaction, vault: Vault, channel_id: UUID) -> Channel:
    """Take a channel away with its target and what waits for it; raises ChannelMissing."""
    found = next((each for each in await channels(tx) if each.id == channel_id), None)
    if found is None:
        raise ChannelMissing("There is no such channel.", fix="List them: isthmus alerts channels")
    await tx.connection.execute(_REMOVE, (tx.scope.now, channel_id))
    vault.erase(workspace=tx.scope.workspace, subject=channel_id)
    details = {"name": found.name, "kind": found.kind}
    await trace(tx, action="channel.removed", resource="alert_channel", record_id=channel_id, details=details)
    return found


async def queue(tx: Transaction, news: Iterable[News]) -> int:
    """Put a message for each group of alerts and each channel in the line; return how many."""
    found = await channels(tx)
    now, count = tx.scope.now, 0
    for group in news:
        for channel in found:
            own = mint(unix_ms=milliseconds(now), entropy=entropy(ENTROPY_BYTES))
            ids = [each.id for each in group.alerts]
            await tx.connection.execute(_NOTICE, (own, channel.id, group.rule, ids, group.resolved, now, now))
            count += 1
    return count


@dataclass(frozen=True, kw_only=True)
class _Due:
    id: UUID
    kind: Kind
    target: str | None
    tries: int
    message: Message


async def deliver(
    database: Database, vault: Vault, scope: Scope, ways: Mapping[Kind, Telling], rules: Sequence[Rule]
) -> int:
    """Send what is due in a workspace and return how many were taken; the others come again later, each later still."""
    titles = {rule.name: rule.title for rule in rules}
    async with database.transaction(scope) as tx:
        due = await _leased(tx, vault, titles)
    taken = 0
    for each in due:
        failure = await _told(each, ways)
        taken += failure is None
        async with database.transaction(scope) as tx:
            if failure is None:
                await tx.connection.execute(_SENT, (scope.now, each.id))
            else:
                wait = timedelta(seconds=min(FIRST_WAIT_S * 2 ** (each.tries - 1), WAIT_S_MAX))
                given_up = scope.now if each.tries >= TRIES_MAX else None
                await tx.connection.execute(_FAILED, (failure, scope.now + wait, given_up, each.id))
    return taken


async def tell_test(tx: Transaction, vault: Vault, ways: Mapping[Kind, Telling], channel_id: UUID) -> None:
    """Tell a channel that it works; raises ChannelMissing and what the telling raises."""
    row = await (
        await tx.connection.execute(
            "select kind, target from alert_channel where workspace = current_workspace() and id = %s"
            " and removed_at is null",
            (channel_id,),
        )
    ).fetchone()
    target = _opened(vault, tx.scope.workspace, channel_id, bytes(row[1])) if row else None
    if row is None or target is None:
        raise ChannelMissing("There is no such channel.", fix="List them: isthmus alerts channels")
    due = _Due(
        id=channel_id,
        kind=cast("Kind", row[0]),
        target=target,
        tries=1,
        message=Message(subject="isthmus: this channel works", lines=("Alerts of this workspace are told here.",)),
    )
    way = ways.get(due.kind)
    if way is None:
        raise NotSent("No mail server is set.", fix="Set smtp_url and mail_sender.")
    await way.tell(target, due.message)


async def _leased(tx: Transaction, vault: Vault, titles: Mapping[str, str]) -> list[_Due]:
    now = tx.scope.now
    cursor = await tx.connection.execute(_LEASE, {"now": now, "until": now + LEASE, "limit": BATCH})
    found: list[_Due] = []
    for notice_id, rule, ids, resolved, tries, channel_id, kind, target in await cursor.fetchall():
        told = [await alert_of(tx, each) for each in ids]
        found.append(
            _Due(
                id=notice_id,
                kind=kind,
                target=_opened(vault, tx.scope.workspace, channel_id, bytes(target)),
                tries=tries,
                message=message_of(titles.get(rule, rule), told, resolved=resolved),
            )
        )
    return found


async def _told(due: _Due, ways: Mapping[Kind, Telling]) -> str | None:
    way = ways.get(due.kind)
    if way is None:
        return "no mail server is set"
    if due.target is None:
        return "the target was erased"
    try:
        await way.tell(due.target, due.message)
    except IsthmusError as error:
        return f"{error.code}: {error.detail}"
    return None


def message_of(title: str, told: Sequence[Alert], *, resolved: bool) -> Message:
    """Return what is told of alerts of one rule, together."""
    count = f" ({len(told)})" if len(told) > 1 else ""
    subject = f"isthmus: {'over: ' if resolved else ''}{title}{count}"
    lines = [f"{each.about}: {each.reason or f'{each.value:g}, over {each.threshold:g}'}" for each in told]
    rest = [f"and {len(lines) - _LINES_MAX} more"] if len(lines) > _LINES_MAX else []
    hint = [] if resolved else ["", "Acknowledge or silence it: isthmus alerts ls"]
    return Message(subject=subject, lines=(*lines[:_LINES_MAX], *rest, *hint))


def _opened(vault: Vault, workspace: int, channel_id: UUID, target: bytes) -> str | None:
    opened = vault.open_many(workspace=workspace, values=[(channel_id, target)])[0]
    return None if opened is None else opened.decode()


def _is_address(text: str) -> bool:
    name, at, host = text.rpartition("@")
    return bool(at and name and "." in host and not any(each.isspace() or each in '<>,;"' for each in text))


def _plain(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
