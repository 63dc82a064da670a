"""One link, one session; nobody sees anything before; the keyboard is enough, and so is a browser without script."""

from playwright.sync_api import expect

from tests.rooms.console.conftest import Window
from tests.rooms.console.stage import Site, Who


def test_nobody_sees_anything_before_signing_in(window: Window, site: Site, full: int) -> None:
    del full
    page = window().new_page()
    page.goto(site.url)
    expect(page).to_have_url(f"{site.url}/sign-in?next=/")
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
    expect(page.locator("main")).to_contain_text("isthmus users link")
    assert "Northwind" not in page.content()
    assert page.request.get(f"{site.url}/overview/live").status == 401


def test_a_link_signs_in_once_and_looking_at_it_does_not_use_it_up(window: Window, site: Site, full: int) -> None:
    link = site.link(full)
    for _ in range(2):
        window().request.get(link)
    page = window(script=False).new_page()
    page.goto(link)
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(f"{site.url}/")
    expect(page.get_by_role("heading", level=1)).to_have_text("Overview")
    late = window().new_page()
    late.goto(link)
    late.get_by_role("button", name="Sign in").click()
    expect(late.get_by_role("alert")).to_contain_text("used before")
    late.goto(site.url)
    expect(late).to_have_url(f"{site.url}/sign-in?next=/")


def test_signing_out_ends_the_session(window: Window, site: Site, full: int) -> None:
    who = site.sign_in(full, "owner")
    context = window(who)
    page = context.new_page()
    page.goto(site.url)
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
    context.add_cookies([{"name": "isthmus_session", "value": who.token, "url": site.url}])
    page.goto(site.url)
    expect(page).to_have_url(f"{site.url}/sign-in?next=/")


def test_an_open_page_notices_that_its_session_has_ended(window: Window, site: Site, full: int) -> None:
    who = site.sign_in(full, "owner")
    page = window(who).new_page()
    page.route("**/overview/live*", lambda route: route.fulfill(status=401))
    page.goto(site.url)
    expect(page.locator("#stamp-word")).to_have_text("Last seen", timeout=15_000)
    site.sign_out(who)
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in", timeout=20_000)


def test_everything_is_there_without_script(window: Window, site: Site, owner: Who) -> None:
    page = window(owner, script=False).new_page()
    page.goto(site.url)
    expect(page.locator("#systems li")).to_have_count(5)
    expect(page.locator(".channels tbody tr").first).to_be_visible()
    expect(page.locator("#cases li").first).to_be_visible()
    expect(page.get_by_text("Keys ?")).to_be_hidden()
    page.get_by_role("link", name="First", exact=True).click()
    expect(page.locator(".models [aria-current]")).to_have_text("First")
    page.get_by_role("link", name="Dark colours").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.locator("#cases summary").click()
    expect(page.locator("#cases .api code")).to_be_visible()


def test_the_keyboard_is_enough(window: Window, site: Site, owner: Who) -> None:
    page = window(owner).new_page()
    page.goto(site.url)
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the content")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Show what was won in USD")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="First", exact=True)).to_be_focused()
    assert page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    expect(page.locator(".models [aria-current]")).to_have_text("First")
    page.keyboard.press("m")
    expect(page.locator(".models [aria-current]")).to_have_text("Last")
    page.keyboard.press("3")
    expect(page.locator("#systems")).to_be_focused()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog", name="Keys")).to_be_hidden()


def test_every_control_is_reached_by_tab_in_the_order_of_the_page(window: Window, site: Site, owner: Who) -> None:
    page = window(owner).new_page()
    page.goto(site.url)
    reached: list[float] = []
    for _ in range(60):
        page.keyboard.press("Tab")
        place = page.evaluate(
            "() => document.activeElement === document.body ? null"
            " : document.activeElement.getBoundingClientRect().top + scrollY"
        )
        if place is None:
            break
        reached.append(place)
    wanted = page.evaluate(
        "() => [...document.querySelectorAll('a[href], button, summary, [tabindex=\"0\"]')]"
        ".filter((each) => each.checkVisibility() && !each.closest('dialog')).length"
    )
    assert len(reached) == wanted


def test_the_chosen_colours_stay(window: Window, site: Site, owner: Who) -> None:
    page = window(owner, scheme="light").new_page()
    page.goto(site.url)
    ground = "() => getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.get_by_role("link", name="Dark colours").click()
    dark = page.evaluate(ground)
    assert dark != light
    page.reload()
    assert page.evaluate(ground) == dark
    expect(page.locator("[data-theme-choice][aria-current]")).to_have_attribute("data-theme-choice", "dark")
    page.keyboard.press("t")
    assert page.evaluate(ground) == light
