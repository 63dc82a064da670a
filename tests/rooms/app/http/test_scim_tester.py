"""Provisioning, judged by a foreign client: scim2-tester goes through all that the server publishes."""

from httpx2 import Client
from scim2_client.engines.httpx2 import SyncSCIMClient
from scim2_tester import Status, check_server

from tests.rooms.app.http.conftest import Site


def test_a_foreign_judge_finds_nothing(site: Site) -> None:
    key = site.key(site.workspace(), "owner")
    base = f"http://127.0.0.1:{site.settings.port}/scim/v2"
    with Client(base_url=base, headers={"authorization": f"Bearer {key}"}, timeout=30) as http:
        results = check_server(SyncSCIMClient(http))
    told = [f"{each.status.name} {each.title}: {each.reason}" for each in results if each.status != Status.SUCCESS]
    assert not told, "\n".join(told)
    assert len(results) > 60
