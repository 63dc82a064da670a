"""The page of work, and what its buttons do."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta, Struct

from isthmus.console.live import Panel, Sight, had
from isthmus.console.pages import page
from isthmus.console.work.acting import Cause, Tally, discard_cause, retry_cause
from isthmus.console.work.board import board_of, draw
from isthmus.console.work.loading import load_work
from isthmus.console.work.present import ACT, load_present, viewer_of
from isthmus.console.work.telling import HERE, Choice, address, told
from isthmus.console.work.views import CauseKind
from isthmus.console.work.workings import Workings
from isthmus.gateway import HTML, Call, Response, Route, redirect
from isthmus.kernel.errors import Conflicting, Denied, IsthmusError, NotFound
from isthmus.kernel.ids import uuid_of
from isthmus.store.database import Scope, Transaction
from isthmus.stream.jobs import board, schedules
from isthmus.stream.jobs.job import JOB_PREFIX
from isthmus.stream.webhooks import endpoints as hooks
from isthmus.stream.webhooks.deliveries import recover
from isthmus.stream.webhooks.endpoints import ENDPOINT_PREFIX
from isthmus.sync.letters import Retried, discard_letter, retry_letter

HAVE_CHARACTERS_MAX = 200
READ = "stream:read"
BELOW = "/working"
"""Under which the live panels and the buttons stand; `/work` with a slash would read as a path of a machine."""
_Text = Annotated[str, Meta(max_length=500)]


class Watching(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a page shows that wants to stay live: its panels as `name.digest`, joined by commas."""

    have: Annotated[str, Meta(max_length=HAVE_CHARACTERS_MAX)] = ""


class Pressed(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A button, and which jobs the page showed."""

    status: Annotated[str, Meta(max_length=20)] = ""
    before: Annotated[str, Meta(max_length=40)] = ""


class Meant(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The reason for which everything waits that a button is for."""

    kind: CauseKind
    who: _Text
    reason: _Text


class Since(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many hours back."""

    hours: Literal[1, 24, 168, 720] = 24


async def show(call: Call) -> Response:
    """Show how work stands."""
    return await _page(call, call.query(Choice))


async def watch(call: Call) -> Response:
    """Keep an open page up to date."""
    services, workspace = call.services, call.principal.workspace
    viewer = viewer_of(services, call.principal.permissions)

    async def drawing(scope: Scope) -> dict[str, Panel]:
        return draw(await load_present(services, scope, viewer))

    sight = Sight(workspace, viewer.permissions, drawing)
    return Response(body=board_of(services).frames(services, sight, have=had(call.query(Watching).have)))


async def retry_one(call: Call) -> Response:
    """Try a dead letter again."""

    async def act(tx: Transaction) -> str:
        found = await retry_letter(tx, call.path["letter"], find=call.services.of(Workings).find)
        return address("retried", _tally(found))

    return await _acted(call, act)


async def discard_one(call: Call) -> Response:
    """Give a dead letter up."""

    async def act(tx: Transaction) -> str:
        await discard_letter(tx, call.path["letter"], vault=call.services.vault)
        return address("discarded", Tally(done=1))

    return await _acted(call, act)


async def retry_all(call: Call) -> Response:
    """Try again everything that waits for one reason."""
    find = call.services.of(Workings).find
    return await _to_all(call, lambda cause: retry_cause(call.services, call.scope, cause, find=find))


async def discard_all(call: Call) -> Response:
    """Give up everything that waits for one reason."""
    return await _to_all(call, lambda cause: discard_cause(call.services, call.scope, cause))


async def retry_job(call: Call) -> Response:
    """Try a job again."""

    async def act(tx: Transaction) -> str:
        await board.again(tx, await _permitted_job(call, tx))
        given = call.body(Pressed)
        return address("job-retried", status=given.status, before=given.before)

    return await _acted(call, act)


async def cancel_job(call: Call) -> Response:
    """Cancel a job."""

    async def act(tx: Transaction) -> str:
        await board.cancel(tx, await _permitted_job(call, tx))
        given = call.body(Pressed)
        return address("job-cancelled", status=given.status, before=given.before)

    return await _acted(call, act)


async def discard_job(call: Call) -> Response:
    """Give a job up."""

    async def act(tx: Transaction) -> str:
        await board.discard(tx, await _permitted_job(call, tx))
        return address("discarded", Tally(done=1))

    return await _acted(call, act)


async def run_schedule(call: Call) -> Response:
    """Run the job of a schedule now."""

    async def act(tx: Transaction) -> str:
        await schedules.run_now(tx, await _permitted_schedule(call, tx))
        return address("schedule-run")

    return await _acted(call, act)


async def pause_schedule(call: Call) -> Response:
    """Let a schedule rest."""

    async def act(tx: Transaction) -> str:
        await schedules.pause(tx, await _permitted_schedule(call, tx), reason="paused in the console")
        return address("schedule-paused")

    return await _acted(call, act)


async def resume_schedule(call: Call) -> Response:
    """Let a schedule come again."""

    async def act(tx: Transaction) -> str:
        await schedules.resume(tx, await _permitted_schedule(call, tx))
        return address("schedule-resumed")

    return await _acted(call, act)


async def pause_webhook(call: Call) -> Response:
    """Let a webhook rest."""

    async def act(tx: Transaction) -> str:
        await hooks.pause(tx, _webhook(call))
        return address("webhook-paused")

    return await _acted(call, act)


async def resume_webhook(call: Call) -> Response:
    """Let a webhook go on."""

    async def act(tx: Transaction) -> str:
        await hooks.resume(tx, _webhook(call))
        return address("webhook-resumed")

    return await _acted(call, act)


async def recover_webhook(call: Call) -> Response:
    """Send what failed."""

    async def act(tx: Transaction) -> str:
        since = call.scope.now - timedelta(hours=call.body(Since).hours)
        return address("webhook-recovered", Tally(done=await recover(tx, _webhook(call), since=since)))

    return await _acted(call, act)


async def _acted(call: Call, act: Callable[[Transaction], Awaitable[str]]) -> Response:
    """Do it in a transaction and show the page at the address it returns, or the page with why it was refused."""
    try:
        async with call.services.database.transaction(call.scope) as tx:
            to = await act(tx)
    except (Conflicting, Denied, NotFound) as refused:
        return await _page(call, Choice(), refused=refused)
    return redirect(to)


async def _to_all(call: Call, act: Callable[[Cause], Awaitable[Tally]]) -> Response:
    given = call.body(Meant)
    if given.kind == "job":
        try:
            _check_kind(call, given.who)
        except Denied as refused:
            return await _page(call, Choice(), refused=refused)
    tally = await act(Cause(kind=given.kind, who=given.who, reason=given.reason))
    return redirect(address("retried" if call.route.path.endswith("/retry") else "discarded", tally))


async def _page(call: Call, choice: Choice, *, refused: IsthmusError | None = None) -> Response:
    viewer = viewer_of(call.services, call.principal.permissions)
    before = uuid_of(JOB_PREFIX, choice.before) if choice.before else None
    it = await load_work(call.services, call.scope, viewer, status=choice.wanted, before=before)
    values: dict[str, object] = {
        "it": it,
        "panels": draw(it.present),
        "told": told(choice),
        "refusal": f"{refused.detail} {refused.fix}" if refused else "",
    }
    return page(call, "work.html", values, status=refused.status if refused else 200)


def _tally(found: Retried) -> Tally:
    return Tally(done=found.done + found.queued, failed=1 if found.reason is not None else 0)


async def _permitted_job(call: Call, tx: Transaction) -> UUID:
    """Return the id of the job in the path; raises JobMissing, and Denied for a kind that the caller may not start."""
    found = await board.job_of(tx, call.id_in_path("job_id", JOB_PREFIX))
    _check_kind(call, found.kind)
    return found.id


async def _permitted_schedule(call: Call, tx: Transaction) -> str:
    found = await schedules.schedule_of(tx, call.path["name"])
    _check_kind(call, found.kind)
    return found.name


def _check_kind(call: Call, kind: str) -> None:
    found = call.services.of(Workings).kinds().get(kind)
    if found is not None:
        call.require(found.permission)


def _webhook(call: Call) -> UUID:
    return call.id_in_path("webhook_id", ENDPOINT_PREFIX)


def _form(
    path: str, handler: Callable[[Call], Awaitable[Response]], summary: str, body: type[Struct] = Pressed
) -> Route:
    return Route(
        method="POST",
        path=f"{BELOW}/{path}",
        permission=ACT,
        handler=handler,
        summary=summary,
        body=body,
        accepts="form",
        media=HTML,
        listed=False,
    )


ROUTES = (
    Route(
        method="GET",
        path=HERE,
        permission=READ,
        handler=show,
        summary="Work",
        query=Choice,
        media=HTML,
        listed=False,
    ),
    Route(
        method="GET",
        path=f"{BELOW}/live",
        permission=READ,
        handler=watch,
        summary="Live work",
        query=Watching,
        media="text/event-stream",
        listed=False,
    ),
    _form("letters/{letter}/retry", retry_one, "Try a dead letter again"),
    _form("letters/{letter}/discard", discard_one, "Give a dead letter up"),
    _form("causes/retry", retry_all, "Try again what waits for one reason", Meant),
    _form("causes/discard", discard_all, "Give up what waits for one reason", Meant),
    _form("jobs/{job_id}/retry", retry_job, "Try a job again"),
    _form("jobs/{job_id}/cancel", cancel_job, "Cancel a job"),
    _form("jobs/{job_id}/discard", discard_job, "Give a job up"),
    _form("schedules/{name}/run", run_schedule, "Run a schedule now"),
    _form("schedules/{name}/pause", pause_schedule, "Let a schedule rest"),
    _form("schedules/{name}/resume", resume_schedule, "Let a schedule come again"),
    _form("webhooks/{webhook_id}/pause", pause_webhook, "Let a webhook rest"),
    _form("webhooks/{webhook_id}/resume", resume_webhook, "Let a webhook go on"),
    _form("webhooks/{webhook_id}/recover", recover_webhook, "Send what failed", Since),
)
