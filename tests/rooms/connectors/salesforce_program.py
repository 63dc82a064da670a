"""A customer's program: simple-salesforce does what its documentation shows, and tells what it saw, as JSON.

Run by a Python that has it: python salesforce_program.py ADDRESS CLIENT_ID SECRET KEY_FILE
The library only speaks TLS; its requests are sent to the address given, and are otherwise left as they are.
"""

import csv
import json
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from importlib import import_module
from io import StringIO
from typing import Protocol, cast
from urllib.parse import urlsplit, urlunsplit

DAY = timedelta(days=1)


class Loose(Protocol):
    """Anything of the libraries, which tell no types."""

    def __getattr__(self, name: str) -> "Loose": ...
    def __getitem__(self, key: str | int) -> "Loose": ...
    def __call__(self, *given: object, **named: object) -> "Loose": ...
    def __iter__(self) -> Iterator["Loose"]: ...


requests = cast("Loose", import_module("requests"))
library = cast("Loose", import_module("simple_salesforce"))


def speaking_with(address: str) -> Loose:
    """Return a session that sends what is meant for Salesforce to an address."""
    session, place = requests.Session(), urlsplit(address)
    ask = session.request

    def request(method: str, url: str, *given: object, **named: object) -> Loose:
        path = urlsplit(url)
        return ask(method, urlunsplit((place.scheme, place.netloc, path.path, path.query, "")), *given, **named)

    setattr(session, "request", request)  # noqa: B010 - the session is of a library without types.
    return session


def main(address: str, client_id: str, secret: str, key_file: str) -> dict[str, object]:
    """Do everything once; returns what was seen."""
    session = speaking_with(address)
    sf = library.Salesforce(
        consumer_key=client_id, consumer_secret=secret, domain="quince.my", version="62.0", session=session
    )
    asserted = library.Salesforce(
        username="ines@quince.example",
        consumer_key=client_id,
        privatekey_file=key_file,
        session=session,
        version="62.0",
    )
    seen: dict[str, object] = {"as": asserted.query("SELECT Id FROM User WHERE Name LIKE 'In%'")["totalSize"]}
    seen["tables"] = len(list(sf.describe()["sobjects"]))
    seen["fields"] = [each["name"] for each in sf.Account.describe()["fields"] if str(each["name"]).endswith("__c")]
    seen["records"] = one_by_one(sf)
    seen["bulk"] = in_bulk(sf)
    contacts = sf.query_all("SELECT Id, LastName, Owner.Email FROM Contact ORDER BY SystemModstamp, Id")["records"]
    seen["contacts"] = [[each["Id"], each["LastName"], each["Owner"]["Email"]] for each in contacts]
    seen["with deleted"] = sf.query_all("SELECT Id FROM Contact", include_deleted=True)["totalSize"]
    seen["count"] = sf.query("SELECT COUNT() FROM Contact WHERE MailingCity IN ('Gent', 'Brugge')")["totalSize"]
    seen["usage"] = int(str(sf.api_usage["api-usage"].used)) > 0
    seen["limits"] = sf.limits()["DailyApiRequests"]["Max"]
    seen["refused"] = refusals(sf)
    return seen


def one_by_one(sf: Loose) -> dict[str, object]:
    """Make, change, upsert and delete records one by one."""
    made = sf.Account.create({"Name": "Made by the library", "Tier__c": "Silver"})
    changed = sf.Account.update(made["id"], {"BillingCity": "Brugge"})
    upserted = sf.Account.upsert("Isthmus_Key__c/key-7", {"Name": "Upserted"})
    again = sf.Account.upsert("Isthmus_Key__c/key-7", {"Name": "Upserted again"})
    gone = sf.Account.create({"Name": "Gone"})["id"]
    sf.Account.delete(gone)
    row = sf.Account.get(made["id"])
    now = datetime.now(UTC)
    told = sf.Account.deleted(now - DAY, now + DAY)
    moved = sf.Account.updated(now - DAY, now + DAY)
    return {
        "made": made["id"],
        "statuses": [changed, upserted, again],
        "city": row["BillingCity"],
        "deleted": [str(each["id"]) for each in told["deletedRecords"]] == [str(gone)],
        "updated": str(made["id"]) in map(str, moved["ids"]),
    }


def in_bulk(sf: Loose) -> dict[str, object]:
    """Write and query by jobs."""
    records = [{"LastName": f"Bulk {number}", "MailingCity": "Gent"} for number in range(5)]
    records.append({"LastName": "Bulk 5", "MailingCity": "Gent", "Email": "no address"})
    [told] = sf.bulk2.Contact.insert(records=records, wait=0.01)
    good = list(csv.DictReader(StringIO(str(sf.bulk2.Contact.get_successful_records(told["job_id"])))))
    bad = list(csv.DictReader(StringIO(str(sf.bulk2.Contact.get_failed_records(told["job_id"])))))
    [changed] = sf.bulk2.Contact.update(records=[{"Id": good[0]["sf__Id"], "MailingCity": "#N/A"}], wait=0.01)
    [deleted] = sf.bulk2.Contact.delete(records=[{"Id": good[1]["sf__Id"]}], wait=0.01)
    parts = list(sf.bulk2.Contact.query("SELECT Id, LastName FROM Contact", max_records=2, wait=0.01))
    found = [row for part in parts for row in csv.DictReader(StringIO(str(part)))]
    return {
        "processed": [told["numberRecordsProcessed"], told["numberRecordsFailed"]],
        "failed": [each["sf__Error"] for each in bad],
        "changed": changed["numberRecordsFailed"],
        "deleted": deleted["numberRecordsFailed"],
        "parts": len(parts),
        "found": sorted(row["LastName"] for row in found),
    }


def refusals(sf: Loose) -> list[list[object]]:
    """Do what is refused; returns status and code of each."""
    tries: tuple[Callable[[], object], ...] = (
        lambda: sf.Contact.create({"FirstName": "Nameless"}),
        lambda: sf.Contact.create({"LastName": "X", "Nowhere": 1}),
        lambda: sf.Contact.update("003gL0000000099QAA", {"LastName": "Ghost"}),
        lambda: sf.query("SELECT Id FROM Contact WHERE LastName = 'a' OR LastName = 'b' AND Email = null"),
        lambda: sf.query("SELECT Id FROM Contact WHERE Description = 'long'"),
        lambda: sf.query("SELECT Id FROM Contact WHERE SystemModstamp > '2026-01-01'"),
        lambda: sf.query("SELECT Id FROM Nothing"),
        lambda: sf.query_more("01gNothing-2000"),
    )
    found: list[list[object]] = []
    for each in tries:
        try:
            each()
        except Exception as error:  # noqa: BLE001 - the library's own, which tells no types.
            told = cast("Loose", error)
            found.append([told.status, told.content[0]["errorCode"]])
    return found


if __name__ == "__main__":
    json.dump(main(*sys.argv[1:]), sys.stdout)
