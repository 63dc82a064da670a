"""Tryton's JSON-RPC in a few lines, for setting a server up and for looking at it from outside the connector."""

import json
from base64 import b64encode
from http.client import HTTPConnection, HTTPException
from typing import cast

from isthmus.kernel.errors import Unavailable
from isthmus.kernel.marks import Json

TIMEOUT_S = 120.0
_OK = 200


class TrytonFault(Unavailable):
    """The counterpart answered with an error, or not at all."""

    code, title = "tryton-fault", "The Tryton server does not do what was asked"

    def __init__(self, detail: str, *, answer: Json = None) -> None:
        """`answer` is Tryton's own error, such as `["UserError", [message, description, domain]]`."""
        super().__init__(detail, fix="See server.log in its directory.")
        self.answer = answer


def rpc(
    *, port: int, path: str, method: str, params: list[Json], token: str | None = None, timeout_s: float = TIMEOUT_S
) -> Json:
    """Call one method of the server on this machine and return its result; raises TrytonFault."""
    connection = HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    headers = {"Content-Type": "application/json"}
    if token is not None:
        headers["Authorization"] = f"Session {token}"
    try:
        connection.request("POST", path, json.dumps({"id": 1, "method": method, "params": params}), headers)
        response = connection.getresponse()
        body = response.read()
    except (OSError, HTTPException) as error:
        raise TrytonFault(f"Tryton does not answer on port {port}: {error}.") from error
    finally:
        connection.close()
    if response.status != _OK:
        raise TrytonFault(f"Tryton answered {response.status} to {method}.")
    answer = cast("dict[str, Json]", json.loads(body))
    if "error" in answer:
        raise TrytonFault(f"Tryton refused {method}: {answer['error']}", answer=answer["error"])
    return answer.get("result")


class TrytonLogin:
    """A signed-in conversation: `call("model.party.party.read", [1], ["name"])`."""

    def __init__(self, *, port: int, database: str, user: str, password: str) -> None:
        """Sign in; raises TrytonFault."""
        self._port, self._path = port, f"/{database}/rpc/"
        parameters: list[Json] = [user, {"password": password}, "en"]
        answer = rpc(port=port, path=self._path, method="common.db.login", params=parameters)
        number, secret = cast("list[str | int]", answer)[:2]
        self.user_number = int(number)
        self._token = b64encode(f"{user}:{number}:{secret}".encode()).decode()
        self.context: dict[str, Json] = {}
        self.renew_context()

    def renew_context(self) -> None:
        """Read the company, employee and language of the user again; every later call carries them."""
        self.context = cast("dict[str, Json]", self.call("model.res.user.get_preferences", True))  # noqa: FBT003 - Tryton's own positional argument.

    def call(self, method: str, *params: Json) -> Json:
        """Call a method with the user's context; raises TrytonFault."""
        return rpc(port=self._port, path=self._path, method=method, params=[*params, self.context], token=self._token)

    def press(self, model: str, button: str, *numbers: int) -> None:
        """Press a button on records, and confirm what Tryton warns about; raises TrytonFault."""
        try:
            self.call(f"model.{model}.{button}", list(numbers))
        except TrytonFault as fault:
            match fault.answer:
                case ["UserWarning", [str(name), *_]]:
                    self.create("res.user.warning", {"user": self.user_number, "name": name, "always": True})
                    self.call(f"model.{model}.{button}", list(numbers))
                case _:
                    raise

    def create(self, model: str, *rows: dict[str, Json]) -> list[int]:
        """Create records and return their numbers."""
        return cast("list[int]", self.call(f"model.{model}.create", cast("Json", list(rows))))

    def find(self, model: str, *clauses: Json) -> list[int]:
        """Return the numbers of the records that fulfil all clauses, in their own order."""
        return cast("list[int]", self.call(f"model.{model}.search", list(clauses), 0, None, None))

    def read(self, model: str, number: int, *fields: str) -> dict[str, Json]:
        """Return fields of one record."""
        rows = cast("list[dict[str, Json]]", self.call(f"model.{model}.read", [number], list(fields)))
        return rows[0]
