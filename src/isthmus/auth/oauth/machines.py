"""Programs that act for themselves (client credentials, RFC 6749 §4.4): their scopes are what they were granted."""

from collections.abc import Sequence

from isthmus.auth.oauth.clients import MACHINE, Client
from isthmus.auth.oauth.errors import InvalidScope
from isthmus.auth.oauth.grants import of_client, store_grant
from isthmus.auth.oauth.issuing import Issue, TokenAnswer, issue
from isthmus.auth.oauth.provider import Provider, check_may
from isthmus.auth.oauth.requests import known_resources
from isthmus.auth.oauth.scopes import OIDC, narrowed
from isthmus.store.database import Transaction


async def machine_token(
    provider: Provider,
    tx: Transaction,
    client: Client,
    *,
    scopes: Sequence[str],
    resources: Sequence[str],
    bound_to: str | None,
) -> TokenAnswer:
    """Return a token of the program itself; raises UnauthorizedClient, InvalidScope and InvalidTarget."""
    check_may(client, MACHINE)
    own = narrowed(scopes, to=[each for each in client.scopes if each not in OIDC], domains=provider.domains)
    if not own:
        raise InvalidScope("The program was granted no scope.", fix="Register scopes for it.")
    aim = await known_resources(provider, tx, resources)
    grant = of_client(client, domains=provider.domains)
    await store_grant(tx, grant)
    wanted = Issue(scopes=own, resources=aim, bound_to=bound_to, with_id=False)
    return await issue(provider, client, grant, wanted, now=tx.scope.now)
