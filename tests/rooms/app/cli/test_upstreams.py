"""`isthmus upstreams` puts services behind the gate, and asks them how they are."""

from tests.rooms.app.cli.conftest import Shell


def test_a_service_is_added_listed_and_removed(shell: Shell) -> None:
    assert "none" in shell("upstreams").err
    made = shell("upstreams", "add", "billing", "https://billing.example.com", "--host", "b.example.com", "--json").row
    assert (made["name"], made["permission"], made["hosts"]) == ("billing", "gateway:use", ["b.example.com"])
    assert "/up/billing/" in shell("upstreams", "ls").out
    assert "already" in shell("upstreams", "add", "billing", "https://b.example.com", code=5).err
    assert "no longer" in shell("upstreams", "rm", "billing").err
    assert "no upstream" in shell("upstreams", "rm", "billing", code=3).err


def test_addresses_inside_are_refused_unless_they_are_allowed(shell: Shell) -> None:
    assert "https" in shell("upstreams", "add", "inside", "http://10.0.0.1:9000", code=1).err
    assert "NAME" in shell("upstreams", "add", code=2).err
    assert "name" in shell("upstreams", "add", "Not A Name", "https://a.example.com", code=1).err


def test_health_names_the_service_that_is_not_well(shell: Shell) -> None:
    shell("upstreams", "add", "nowhere", "https://nowhere.invalid", "--connect-ms", "500")
    said = shell("upstreams", "health", code=6)
    assert "nowhere" in said.out
    assert "Not well: nowhere" in said.err
    shell("upstreams", "rm", "nowhere")
