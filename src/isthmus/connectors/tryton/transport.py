"""Requests to a Tryton server: REST with a key, RPC with a session; timeouts, bounded retries, and errors in words."""

import json
from base64 import b64encode, urlsafe_b64encode
from random import Random
from typing import cast
from urllib.parse import quote

import aiohttp

from isthmus.kernel.marks import Json
from isthmus.sync.calls import TOO_MANY, UNAUTHORISED, Answer, Calls, Rules, permitted
from isthmus.sync.connector import ConnectorError, Leave, freely

KEY_FIX = "In Tryton, open the user, make a key for the application REST API, and give it as `key`."
LOGIN_FIX = "Give `user` and `password` of a Tryton user that may change parties and opportunities."
_OK, _NO_CONTENT, _FORBIDDEN, _NOT_FOUND, _BROKEN = 200, 204, 403, 404, 500
# What Tryton answers 500 to it refuses for good, such as a model that is not there.
RULES = Rules(again=frozenset({TOO_MANY, 502, 503, 504}))


class RpcFault(Exception):
    """Tryton's own error, such as `ConcurrencyException` or `UserError`, with its sentence."""

    def __init__(self, kind: str, sentence: str) -> None:
        """`kind` is the class of the error on the server."""
        super().__init__(sentence)
        self.kind = kind
        self.sentence = sentence


class Transport:
    """One conversation. `dice` spreads the retries of many conversations over time."""

    def __init__(
        self,
        *,
        http: aiohttp.ClientSession,
        url: str,
        database: str,
        key: str,
        user: str,
        password: str,
        dice: Random,
        leave: Leave = freely,
    ) -> None:
        """Without `password` there is no RPC, so nothing can be written."""
        self.base = permitted(url, example="https://tryton.example")
        self.database = database
        self.user = user
        self._calls = Calls(http=http, base=self.base, title="Tryton", dice=dice, leave=leave, rules=RULES)
        self._key, self._password = key, password
        self._root = f"/{quote(database, safe='')}"
        self._token: str | None = None
        self.user_number = 0
        self.company: int | None = None
        self._context: dict[str, Json] = {}

    async def version(self) -> str:
        """Return the server's series, such as `8.2`."""
        payload: dict[str, Json] = {"id": 0, "method": "common.server.version", "params": []}
        answer = await self._calls.send("POST", "/rpc/", payload=payload, safe=True)
        if answer.status != _OK:
            raise ConnectorError(f"{self.base} is no Tryton server ({answer.status}).", fix="Check `url`.")
        return str(cast("dict[str, Json]", _parsed(answer)).get("result"))

    async def search(
        self, model: str, domain: Json, *, fields: tuple[str, ...], limit: int, order: Json = None
    ) -> list[dict[str, Json]]:
        """Return at most `limit` records that fulfil the domain, in that order (by number without one)."""
        query = [("d", _packed(domain)), ("o", _packed(order or [["id", "ASC"]])), ("s", str(limit))]
        query += [("f", name) for name in fields]
        answer = await self._rest("GET", model, query=query)
        return cast("list[dict[str, Json]]", _parsed(answer))

    async def count(self, model: str, domain: Json) -> int:
        """Return how many records fulfil the domain."""
        answer = await self._rest("POST", f"{model}/search_count", payload={"domain": domain})
        return cast("int", _parsed(answer))

    async def call(self, method: str, *params: Json, unmoved: dict[str, str] | None = None, safe: bool = False) -> Json:
        """Call a method; `unmoved` names records (`model,number`) with the `_timestamp` they must still have.

        Raises RpcFault with Tryton's own refusal, and ConnectorError when the server cannot be used. `safe` calls are
        repeated after a lost connection; others only where it is certain that nothing was done.
        """
        for fresh in (False, True):
            if fresh:
                self._token = None
            await self.sign_in()
            context: dict[str, Json] = {**self._context}
            if unmoved:
                context["_timestamp"] = cast("Json", unmoved)
            payload: dict[str, Json] = {"id": 1, "method": method, "params": [*params, context]}
            headers = {"Authorization": f"Session {self._token}"}
            answer = await self._calls.send("POST", f"{self._root}/rpc/", payload=payload, headers=headers, safe=safe)
            if answer.status != UNAUTHORISED:
                return _result(answer, method=method)
        raise ConnectorError("Tryton ends every session at once.", fix=LOGIN_FIX)

    @property
    def writable(self) -> bool:
        """Tell whether a password was given, without which nothing can be written."""
        return bool(self._password)

    async def sign_in(self) -> None:
        """Open the RPC session unless it is open; raises ConnectorError."""
        if self._token is not None:
            return
        if not self._password:
            raise ConnectorError("This connection can only read.", fix=LOGIN_FIX)
        params: list[Json] = [self.user, {"password": self._password}, "en"]
        payload: dict[str, Json] = {"id": 0, "method": "common.db.login", "params": params}
        answer = await self._calls.send("POST", f"{self._root}/rpc/", payload=payload, safe=True)
        if answer.status == UNAUTHORISED:
            raise ConnectorError(f"Tryton refuses the password of {self.user}.", fix=LOGIN_FIX)
        try:
            number, secret = cast("list[Json]", _result(answer, method="login"))[:2]
        except RpcFault as fault:
            raise ConnectorError(f"Tryton asks {self.user} for more than a password.", fix=LOGIN_FIX) from fault
        self.user_number = int(cast("int", number))
        self._token = b64encode(f"{self.user}:{number}:{secret}".encode()).decode()
        payload = {"id": 0, "method": "model.res.user.get_preferences", "params": [True, {}]}
        headers = {"Authorization": f"Session {self._token}"}
        answer = await self._calls.send("POST", f"{self._root}/rpc/", payload=payload, headers=headers, safe=True)
        self._context = {**cast("dict[str, Json]", _result(answer, method="get_preferences")), "language": "en"}

    async def _rest(
        self, method: str, path: str, *, query: list[tuple[str, str]] | None = None, payload: Json = None
    ) -> Answer:
        headers = {"Authorization": f"bearer {self._key}", "Accept-Language": "en"}
        if self.company is not None:
            # Some fields, such as the language of a party, have a value for each company.
            headers["X-Tryton-Context"] = _packed({"company": self.company})
        url = f"{self._root}/rest/model/{path}"
        answer = await self._calls.send(method, url, payload=payload, query=query, headers=headers, safe=True)
        model = path.partition("/")[0]
        if answer.status == UNAUTHORISED:
            raise ConnectorError("Tryton refuses the key.", fix=KEY_FIX)
        if answer.status == _FORBIDDEN:
            raise ConnectorError(f"The key's user may not read {model}.", fix="Add the user to the group that may.")
        if answer.status == _BROKEN and model in answer.body.decode(errors="replace"):
            raise ConnectorError(f"Tryton has no {model}.", fix="Activate the module that brings it.")
        _check(answer, what=f"reading {model}", database=self.database)
        return answer


def _packed(value: Json) -> str:
    return urlsafe_b64encode(json.dumps(value).encode()).decode()


def _parsed(answer: Answer) -> Json:
    try:
        return cast("Json", json.loads(answer.body))
    except ValueError as error:
        raise ConnectorError(
            "What answers is not Tryton.", fix="Check `url`: it must lead to the server itself."
        ) from error


def _check(answer: Answer, *, what: str, database: str) -> None:
    if answer.status == _NOT_FOUND:
        raise ConnectorError(f"Tryton has no database {database!r}.", fix="Check `database`.")
    if answer.status not in (_OK, _NO_CONTENT):
        said = answer.body.decode(errors="replace")[:200]
        raise ConnectorError(f"Tryton answered {answer.status} to {what}: {said}", fix="Look into the server's log.")


def _result(answer: Answer, *, method: str) -> Json:
    """Return the result of a call; raises RpcFault with the server's refusal."""
    _check(answer, what=method, database="of that name")
    content = _parsed(answer)
    if not isinstance(content, dict):
        raise ConnectorError("What answers is not Tryton.", fix="Check `url`: it must lead to the server itself.")
    match content.get("error"):
        case None:
            return content.get("result")
        case ["UserWarning", [_, str(sentence), *more]] | ["UserError", [str(sentence), *more]]:
            rest = next((each for each in more if isinstance(each, str) and each), "")
            raise RpcFault("UserError", f"{sentence} {rest}".strip())
        case ["ConcurrencyException", str(sentence)]:
            raise RpcFault("ConcurrencyException", sentence)
        case [other, *_] | other:
            # What follows is the server's stack, which is of no use outside its log.
            raise RpcFault("Error", str(other)[:500])
