"""Chromium signs in at a SAML identity provider on another site, and comes back with a session."""

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from isthmus.auth.saml.providers import SamlProvider, SamlWish, add_saml_provider
from tests.rooms.auth.saml.counterpart import cookie_of, running
from tests.rooms.console.conftest import Window
from tests.rooms.console.stage import Site


@pytest.fixture(scope="module")
def provider(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SamlProvider]:
    """A provider that is set up for a workspace."""
    workspace = site.workspace("Saml")
    with running(tmp_path_factory.mktemp("saml")) as metadata:
        wish = SamlWish(title="Saml House", metadata=metadata, roles=("viewer",), mail_domains=("saml.example",))

        async def set_up() -> SamlProvider:
            async with site.database.transaction(site.scope(workspace)) as tx:
                return await add_saml_provider(tx, site.store.vault, wish, domains=("sales",), giver=None)

        yield site.do(set_up())


def test_a_browser_goes_there_and_comes_back_signed_in(site: Site, window: Window, provider: SamlProvider) -> None:
    person = {"subject": "ada-1", "claims": {"email": "ada@saml.example", "displayName": "Ada Byron"}}
    context = window()
    there = urlsplit(provider.sign_in_url)
    context.add_cookies([{"name": "who", "value": cookie_of(person), "url": f"http://{there.netloc}"}])
    page = context.new_page()
    page.goto(f"http://localhost:{site.port}/sign-in?next=/me")
    page.get_by_role("link", name="Sign in with Saml House").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Ada Byron")
    assert urlsplit(page.url).path == "/me"
    names = {each.get("name") for each in context.cookies(f"http://localhost:{site.port}/sign-in/saml")}
    assert "isthmus_saml" not in names


def test_a_refusal_leads_back_to_the_sign_in_page(site: Site, window: Window, provider: SamlProvider) -> None:
    person = {"subject": "eve", "claims": {"email": "eve@elsewhere.example"}}
    context = window()
    there = urlsplit(provider.sign_in_url)
    context.add_cookies([{"name": "who", "value": cookie_of(person), "url": f"http://{there.netloc}"}])
    page = context.new_page()
    page.goto(f"http://localhost:{site.port}/sign-in/saml/{provider.id}")
    expect(page.get_by_text("your address opens none")).to_be_visible()


def test_our_metadata_names_where_responses_go(site: Site, window: Window, provider: SamlProvider) -> None:
    told = window().request.get(f"{site.url}/sign-in/saml/{provider.id}/metadata")
    assert told.headers["content-type"] == "application/samlmetadata+xml"
    assert f'Location="{site.url}/sign-in/saml/{provider.id}/acs"' in told.text()
    assert 'WantAssertionsSigned="true"' in told.text()
