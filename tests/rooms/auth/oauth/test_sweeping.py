"""What has expired is deleted, and what tells of a person's word stays."""

from datetime import timedelta

from isthmus.auth.oauth.clients import CODE, ClientWish, register_client
from isthmus.auth.oauth.grants import Grant, find_grant, new_id, store_grant
from isthmus.auth.oauth.requests import Asked, push, use_pushed
from isthmus.auth.oauth.sweeping import sweep
from isthmus.store.database import Scope
from isthmus.sync.ingest import Store
from tests.conftest import NOW

WISH = ClientWish(name="P", scopes=("openid",), redirects=("https://app.test/back",), grants=(CODE,))
ASKED = Asked(redirect="https://app.test/back", scopes=("openid",), challenge="x" * 43)


async def test_expired_requests_go_and_grants_stay_for_ninety_days(store: Store, scope: Scope) -> None:
    async with store.database.transaction(scope) as tx:
        client, _ = await register_client(tx, WISH, domains=("sales",), giver=None)
        grant = Grant(
            id=new_id(NOW),
            client=client.id,
            kind="code",
            subject="user_x",
            name="",
            created_at=NOW,
            expires_at=NOW + timedelta(hours=1),
        )
        await store_grant(tx, grant)
        uri = await push(tx, client, ASKED)
        assert await sweep(tx) == 0
        assert await use_pushed(tx, client, uri) == ASKED
    for days, gone in ((2, 1), (80, 0), (92, 1)):
        later = Scope(workspace=scope.workspace, actor="test", cause="test", now=NOW + timedelta(days=days))
        async with store.database.transaction(later) as tx:
            assert await sweep(tx) == gone
    async with store.database.transaction(scope) as tx:
        assert await find_grant(tx, grant.id) is None
