"""What every page must hold: nobody is shut out, nothing sticks out, nothing comes from elsewhere, little is sent."""

from dataclasses import dataclass, field
from typing import Self, cast
from urllib.parse import urlsplit

from axe_core_python.base import AXE_SCRIPT
from playwright.sync_api import CDPSession, ConsoleMessage, Page, Request

# A page is as wide as the window, and so is everything in it that is not inside something that scrolls by itself.
_OVERFLOWING = """() => {
  const room = document.documentElement.clientWidth;
  const scrolls = (each) => each && (/auto|scroll|hidden/.test(getComputedStyle(each).overflowX)
    && each !== document.documentElement && each !== document.body || scrolls(each.parentElement));
  const found = [...document.body.querySelectorAll("*")].filter((each) => {
    const box = each.getBoundingClientRect();
    return box.width > 0 && !each.closest(".hush, .skip, .icons")
      && (box.right > room + 1 || box.left < -1) && !scrolls(each.parentElement);
  }).map((each) => each.tagName.toLowerCase() + "." + each.getAttribute("class"));
  const wide = document.documentElement.scrollWidth > room ? ["page"] : [];
  const cut = [...document.querySelectorAll("p, h1, h2, h3, dd, dt, th, td, a, button, span")].filter((each) =>
    !each.closest(".hush, .scroll, svg") && each.scrollWidth > each.clientWidth + 1
    && getComputedStyle(each).display !== "inline" && getComputedStyle(each).overflowX === "visible"
  ).map((each) => "text in " + each.tagName.toLowerCase() + ": " + each.textContent.trim().slice(0, 40));
  return [...wide, ...found, ...cut];
}"""
_AXE = """async () => {
  const all = await axe.run(document);
  const places = (each) => each.nodes.map((node) => node.target.join(" ")).join(", ");
  return [String(all.passes.length), ...all.violations.map((each) => each.id + ": " + places(each))];
}"""
_ENOUGH = 10


def overflowing(page: Page) -> list[str]:
    """Return what is wider than the window or than its own box."""
    return cast("list[str]", page.evaluate(_OVERFLOWING))


def shut_out(page: Page) -> list[str]:
    """Return what axe-core finds that shuts people out, every rule on."""
    page.evaluate(AXE_SCRIPT)
    passed, *found = cast("list[str]", page.evaluate(_AXE))
    assert int(passed) > _ENOUGH, "axe looked at next to nothing"
    return found


@dataclass
class Watch:
    """What a page does on the wire and says in the console, from before it is opened."""

    page: Page
    own: str
    requests: list[str] = field(default_factory=list[str])
    elsewhere: list[str] = field(default_factory=list[str])
    complaints: list[str] = field(default_factory=list[str])
    received: int = 0

    @classmethod
    def over(cls, page: Page, *, own: str) -> Self:
        """Begin to watch a page; `own` is the host that it may ask."""
        watch = cls(page, own)
        page.on("request", watch.asked)
        page.on("console", watch.said)
        page.on("pageerror", lambda error: watch.complaints.append(str(error)))
        wire: CDPSession = page.context.new_cdp_session(page)
        wire.send("Network.enable")  # pyright: ignore[reportUnknownMemberType] - its answers are free JSON.
        wire.on("Network.responseReceived", watch.began)
        wire.on("Network.dataReceived", watch.went_on)
        return watch

    def asked(self, request: Request) -> None:
        """Take note of a request."""
        parts = urlsplit(request.url)
        if parts.scheme == "data":
            return
        self.requests.append(request.url)
        if parts.netloc != self.own:
            self.elsewhere.append(request.url)

    def said(self, message: ConsoleMessage) -> None:
        """Take note of an error or warning; breaches of the content security policy are among them."""
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def began(self, event: dict[str, dict[str, float]]) -> None:
        """Count the bytes of headers."""
        self.received += int(event["response"]["encodedDataLength"])

    def went_on(self, event: dict[str, float]) -> None:
        """Count the bytes of bodies as they were sent."""
        self.received += int(event["encodedDataLength"] or 0)
