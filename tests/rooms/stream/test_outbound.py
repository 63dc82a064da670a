"""Addresses that somebody gave us lead to the internet, or to networks that were allowed, and nowhere else."""

import pytest

from isthmus.stream.outbound import Outbound, OutboundFailed, OutboundRefused
from tests.rooms.stream.alerts.receiving import web_server

INSIDE = (
    *(
        "127.0.0.1",
        "10.0.0.8",
        "169.254.169.254",
        "192.168.1.1",
        "100.64.0.1",
        "0.0.0.1",
        "224.0.0.1",
        "255.255.255.255",
    ),
    *("::1", "::", "fe80::1", "fd00::1", "ff02::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe"),
    *("2002:7f00:1::", "2001:0:0:0:0:0:80ff:fffe"),
)


@pytest.mark.parametrize("address", INSIDE)
def test_what_only_we_can_reach_may_not_be_reached(address: str) -> None:
    assert not Outbound().may_reach(address)


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:4700::1111", "::ffff:93.184.216.34", "64:ff9b::5db8:d822"])
def test_the_internet_may_be_reached(address: str) -> None:
    assert Outbound().may_reach(address)


def test_in_the_house_only_what_tells_machines_secrets_or_is_nobodys_may_not_be_reached() -> None:
    house = Outbound(house=True)
    own = {
        "127.0.0.1",
        "10.0.0.8",
        "192.168.1.1",
        "172.16.0.1",
        "::1",
        "fd00::1",
        "::ffff:127.0.0.1",
        "64:ff9b::7f00:1",
    }
    own |= {"2002:7f00:1::", "2001:0:0:0:0:0:80ff:fffe"}
    assert [each for each in own if not (house.may_reach(each) and house.is_own(each))] == []
    never = {*INSIDE, "fd00:ec2::254", "fd20:ce::254", "::ffff:169.254.169.254"} - own
    assert [each for each in never if house.may_reach(each)] == []
    for url in ("http://example.org/", "http://127.0.0.1:8069/", "https://10.0.0.8/"):
        house.check(url, plain_names=True)
    for url in ("http://93.184.216.34/", "http://169.254.169.254/latest/meta-data", "http://[fd00:ec2::254]/"):
        with pytest.raises(OutboundRefused):
            house.check(url, plain_names=True)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/x",
        "https://user:secret@example.com/",
        "ftp://example.com/",
        "https:///x",
        "https://127.0.0.1/",
        "https://[::ffff:10.0.0.1]/",
        "https://example.com:99999/",
        "//example.com",
        "https://①②⑦.⓪.⓪.①/",
        "https://127。0。0。1/",
        "https://\uff11\uff12\uff17.0.0.1/",
        "https://%31%32%37.0.0.1/",
        "https://127.0.0.1%00.example.com/",
        "https://exa\tmple.com/",
    ],
)
def test_an_address_that_is_plainly_unfit_is_refused_when_it_is_given(url: str) -> None:
    with pytest.raises(OutboundRefused):
        Outbound().check(url)


async def test_a_name_that_leads_inside_is_refused_when_it_is_called() -> None:
    async with web_server() as received:
        with pytest.raises(OutboundRefused):
            await Outbound().post(f"https://localhost:{received.port}/", b"{}", headers={})
        assert received.requests == []


async def test_an_allowed_network_is_called_and_redirects_are_not_followed() -> None:
    async with web_server() as received:
        received.status, received.extra = "302 Found", "location: http://169.254.169.254/\r\n"
        outbound = Outbound(["127.0.0.0/8"])
        status, _ = await outbound.post(f"http://127.0.0.1:{received.port}/hook", b"{}", headers={"x-a": "b"})
        assert status == 302
        assert len(received.requests) == 1
        assert received.requests[0].startswith("POST /hook HTTP/1.1")


async def test_who_does_not_answer_is_told_as_such() -> None:
    with pytest.raises(OutboundFailed):
        await Outbound(["127.0.0.1/32"]).post("http://127.0.0.1:9/", b"", headers={})
