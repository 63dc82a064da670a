"""How SAML identity providers are shown, over HTTP and at the terminal."""

from datetime import datetime

from msgspec import Struct

from isthmus.auth.saml.providers import SAML_PREFIX, SamlProvider
from isthmus.kernel.ids import text_of


class SamlProviderView(Struct, frozen=True, kw_only=True):
    """An identity provider; `our_metadata` is the path of what is registered there."""

    id: str
    title: str
    entity: str
    sign_in_url: str
    certificates: list[str]
    roles: list[str]
    mail_domains: list[str]
    our_metadata: str
    created_at: datetime


def saml_view(provider: SamlProvider) -> SamlProviderView:
    """Return a provider as it is shown."""
    return SamlProviderView(
        id=text_of(SAML_PREFIX, provider.id),
        title=provider.title,
        entity=provider.entity,
        sign_in_url=provider.sign_in_url,
        certificates=provider.certificates,
        roles=provider.roles,
        mail_domains=provider.mail_domains,
        our_metadata=f"/sign-in/saml/{provider.id}/metadata",
        created_at=provider.created_at,
    )
