"""The fake as a server: addresses, sign-in and the daily allowance around what `Rest` and `Jobs` do."""

import asyncio
import threading
from base64 import b64decode
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from email.utils import format_datetime

from aiohttp import web

from isthmus.connectors.salesforce.fake.doors import BY, JobDoors, RestDoors, said
from isthmus.connectors.salesforce.fake.faults import Refused, missing
from isthmus.connectors.salesforce.fake.fields import Organisation
from isthmus.connectors.salesforce.fake.jobs import Jobs
from isthmus.connectors.salesforce.fake.records import Records
from isthmus.connectors.salesforce.fake.rest import ROOT, Rest
from isthmus.connectors.salesforce.fake.tokens import Tokens, Unauthorised
from isthmus.connectors.salesforce.wire import Row

SECRET, REFRESH_TOKEN = "secret-of-the-connected-app", "5Aep861.refresh-token-of-ines"
START_S_MAX = 30.0
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Fake:
    """A fake organisation; `allowed` is how many requests it takes in a day, `used` how many it took."""

    organisation: Organisation = field(default_factory=Organisation)
    public_key: str = ""
    allowed: int = 1_000_000
    used: int = 0
    failing: list[Refused] = field(default_factory=list[Refused])
    url: str = ""
    records: Records = field(init=False)
    rest: Rest = field(init=False)
    jobs: Jobs = field(init=False)
    tokens: Tokens = field(init=False)

    def __post_init__(self) -> None:
        """Begin without records of the people's."""
        self.records = Records(self.organisation)
        self.rest, self.jobs = Rest(self.records), Jobs(self.records)
        self.tokens = Tokens(self.records, secret=SECRET, refresh_token=REFRESH_TOKEN, public_key=self.public_key)

    def application(self) -> web.Application:
        """Return the server's application."""
        application = web.Application(middlewares=[self._around], client_max_size=2**27)
        application.router.add_post("/services/oauth2/token", self._token)
        application.router.add_get("/services/data/", self._versions)
        RestDoors(self.rest, self.jobs, self).stand(application.router)
        JobDoors(self.jobs, self.records).stand(application.router)
        return application

    @web.middleware
    async def _around(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Let in who shows a token, count the request, and say no in Salesforce's form."""
        try:
            if request.path.startswith(f"{ROOT}/"):
                request[BY] = self._let_in(request.headers.get("Authorization", ""))
            response = await handler(request)
        except Refused as refused:
            response = said([refused.alone()], status=refused.status)
        except Unauthorised as refused:
            told: Row = {"error": refused.error, "error_description": refused.description}
            response = said(told, status=400)
        except web.HTTPNotFound:
            response = said([missing().alone()], status=404)
        except web.HTTPMethodNotAllowed:
            response = said([{"errorCode": "METHOD_NOT_ALLOWED", "message": "HTTP Method not allowed."}], status=405)
        response.headers["Date"] = format_datetime(self.records.now.replace(microsecond=0), usegmt=True)
        if request.path.startswith(f"{ROOT}/"):
            response.headers["Sforce-Limit-Info"] = f"api-usage={self.used}/{self.allowed}"
        return response

    def _let_in(self, header: str) -> str:
        """Return who asks, and count the request; raises Refused."""
        with self.records.lock:
            user = self.tokens.user_of(header)
            self.used += 1
            if self.used > self.allowed:
                raise Refused(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")
            if self.failing:
                raise self.failing.pop(0)
            return user

    async def _token(self, request: web.Request) -> web.Response:
        sent = await request.post()
        form = {name: value for name, value in sent.items() if isinstance(value, str)}
        form |= _basic(request.headers.get("Authorization", ""))
        with self.records.lock:
            return said(self.tokens.give(form, url=str(request.url.origin())))

    async def _versions(self, _: web.Request) -> web.Response:
        return said([{"label": "Winter '25", "url": ROOT, "version": "62.0"}])


def _basic(header: str) -> dict[str, str]:
    """Return the client that a header names, which stands for the same in the form; raises Unauthorised."""
    if not header:
        return {}
    try:
        client, _, secret = b64decode(header.removeprefix("Basic "), validate=True).decode().partition(":")
    except ValueError as error:
        raise Unauthorised("invalid_client", "invalid client credentials") from error
    return {"client_id": client, "client_secret": secret}


@asynccontextmanager
async def _served(fake: Fake) -> AsyncGenerator[str]:
    runner = web.AppRunner(fake.application(), access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


@contextmanager
def running(fake: Fake) -> Generator[Fake]:
    """Serve a fake in a thread of its own while the block runs; its address is in `url`."""
    loop, told, over = asyncio.new_event_loop(), threading.Event(), asyncio.Event()

    async def stand() -> None:
        async with _served(fake) as url:
            fake.url = url
            told.set()
            await over.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(stand(),))
    thread.start()
    try:
        if not told.wait(START_S_MAX):
            raise TimeoutError
        yield fake
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()
        loop.close()
