"""Who may call what: one line for each route, naming the roles that are let in.

It is written again by `python -m tests.access.table`.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from isthmus.app.discovery import domains, schema
from isthmus.app.http.assembly import all_routes
from isthmus.auth.roles import DOMAIN_ROLES, WORKSPACE_ROLES, permissions_of
from isthmus.gateway import ANY_CALLER, Route

TABLE = Path(__file__).with_name("table.json")
DOMAINS = tuple(sorted(each.name for each in domains()))
ROLES = (*WORKSPACE_ROLES, *DOMAIN_ROLES, *(f"{name}.{role}" for name in ("sales", "finance") for role in DOMAIN_ROLES))
EVERYBODY = "everybody"


def name_of(route: Route) -> str:
    """Return the name of a route in the table."""
    return f"{route.method} {route.path}"


def let_in(route: Route) -> list[str]:
    """Return who is let in, as the declarations say."""
    if route.permission is None:
        return [EVERYBODY]
    if route.permission == ANY_CALLER:
        return list(ROLES)
    return [role for role in ROLES if route.permission in permissions_of([role], domains=DOMAINS)]


def table(routes: Sequence[Route]) -> dict[str, list[str]]:
    """Return the table."""
    return {name_of(route): let_in(route) for route in sorted(routes, key=name_of)}


def read() -> dict[str, list[str]]:
    """Return the table as it is kept."""
    return json.loads(TABLE.read_text("utf-8"))


def write() -> None:
    """Keep the table, a line for each route, so that a change of access is seen where changes are read."""
    lines = [f"  {json.dumps(name)}: {json.dumps(roles)}" for name, roles in table(all_routes(schema())).items()]
    TABLE.write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8")


if __name__ == "__main__":
    write()
