"""A customer's program: it speaks with HubSpot's own library as its pages say, and knows nothing of us.

It runs in an environment of its own, `python hubspot_program.py ADDRESS TOKEN`, and tells in JSON what it saw.
"""
# pyright: reportMissingImports=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false, reportPrivateUsage=false
# The library is installed for this program alone, and not beside our own.

import json
import sys

from hubspot import Client
from hubspot.crm.associations.v4 import BatchInputPublicFetchAssociationsBatchRequest
from hubspot.crm.contacts import (
    BatchInputSimplePublicObjectBatchInput,
    BatchInputSimplePublicObjectBatchInputForCreate,
    BatchInputSimplePublicObjectBatchInputUpsert,
    BatchInputSimplePublicObjectId,
    BatchReadInputSimplePublicObjectId,
    PublicMergeInput,
    PublicObjectSearchRequest,
    SimplePublicObjectInput,
    SimplePublicObjectInputForCreate,
)
from hubspot.crm.contacts.exceptions import ApiException

ASKED = ["email", "firstname", "lastname", "dealname", "name", "subject"]


def seen(client: Client) -> dict[str, object]:
    """Return every record, two a page, with what the library says of it."""
    crm, found = client.crm, {}
    ways = {"contacts": crm.contacts, "companies": crm.companies, "deals": crm.deals, "tickets": crm.tickets}
    for name, way in ways.items():
        found[name], after, more = {}, None, True
        while more:
            page = way.basic_api.get_page(limit=2, after=after, properties=ASKED)
            found[name] |= {each.id: each.properties for each in page.results}
            more = page.paging is not None
            after = page.paging.next.after if more else None
    return found


def searched(client: Client) -> dict[str, object]:
    """Return what a search finds, page by page, and how the library tells that a search ends at its limit."""
    found, after = [], None
    while True:
        asked = PublicObjectSearchRequest(
            filter_groups=[{"filters": [{"propertyName": "hs_object_id", "operator": "GT", "value": "0"}]}],
            sorts=[{"propertyName": "lastmodifieddate", "direction": "ASCENDING"}],
            properties=["lastname"],
            limit=2,
            after=after,
        )
        page = client.crm.contacts.search_api.do_search(public_object_search_request=asked)
        found += [each.id for each in page.results]
        if page.paging is None:
            return {"ids": found, "total": page.total}
        after = page.paging.next.after


def written(client: Client) -> dict[str, object]:
    """Make, change, merge and delete; returns what the library understood of the answers."""
    api, batch = client.crm.contacts.basic_api, client.crm.contacts.batch_api
    made = api.create(SimplePublicObjectInputForCreate(properties={"email": "sdk@harbour.example", "lastname": "Sdk"}))
    changed = api.update(made.id, SimplePublicObjectInput(properties={"city": "Malmö", "lastname": ""}))
    inputs = [
        {"properties": {"email": email}, "objectWriteTraceId": word}
        for word, email in (("a", "one@harbour.example"), ("b", "no address"))
    ]
    many = batch.create(BatchInputSimplePublicObjectBatchInputForCreate(inputs=inputs))
    update = BatchInputSimplePublicObjectBatchInput(
        inputs=[{"id": made.id, "properties": {"city": "Lund"}}, {"id": "999999", "properties": {"city": "Lund"}}]
    )
    some = batch.update(update)
    upsert = [{"idProperty": "email", "id": "one@harbour.example", "properties": {"city": "Kiel"}}]
    upserted = batch.upsert(BatchInputSimplePublicObjectBatchInputUpsert(inputs=upsert)).results[0]
    merge = PublicMergeInput(primary_object_id=made.id, object_id_to_merge=upserted.id)
    merged = api.merge(merge)
    asked = BatchReadInputSimplePublicObjectId(
        inputs=[{"id": upserted.id}], properties=["hs_merged_object_ids"], properties_with_history=[]
    )
    led = batch.read(asked).results[0]
    batch.archive(BatchInputSimplePublicObjectId(inputs=[{"id": made.id}]))
    archived = api.get_page(archived=True, properties=["lastname"]).results
    return {
        "changed": [changed.properties["city"], changed.properties.get("lastname")],
        "many": [
            [each.object_write_trace_id for each in many.results],
            many.errors[0].context,
            many.errors[0].category,
        ],
        "some": [[each.id == made.id for each in some.results], some.errors[0].context],
        "upserted": upserted.new,
        "merged": [merged.id == made.id, led.id == made.id, led.properties["hs_merged_object_ids"] == upserted.id],
        "archived": [[each.id == made.id, each.archived_at is not None] for each in archived],
    }


def refused(client: Client) -> list[object]:
    """Return how the library tells of refusals: of a value, of a record that is not there, and of a second of one."""
    api = client.crm.contacts.basic_api
    said = []
    for properties in ({"nowhere": "x"}, {"email": "no address"}, {"email": "mara@harbour.example"}):
        try:
            api.create(SimplePublicObjectInputForCreate(properties=properties))
        except ApiException as error:
            said.append([error.status, json.loads(error.body)["category"]])
    try:
        api.get_by_id("999999")
    except ApiException as error:
        said.append([error.status, json.loads(error.body)["category"]])
    return said


def known(client: Client) -> dict[str, object]:
    """Return what the library tells of owners, stages, properties and associations."""
    contacts = {each.id for each in client.crm.contacts.get_all()}
    asked = BatchInputPublicFetchAssociationsBatchRequest(inputs=[{"id": each} for each in sorted(contacts)])
    ties = client.crm.associations.v4.batch_api.get_page("contacts", "companies", asked)
    return {
        "owners": [each.email for each in client.crm.owners.get_all()],
        "stages": [each.id for each in client.crm.pipelines.pipelines_api.get_all("deals").results[0].stages],
        "own": [
            each.name for each in client.crm.properties.core_api.get_all("contacts").results if not each.hubspot_defined
        ],
        "ties": {
            each.to_dict()["_from"]["id"]: [
                [end.to_object_id, sorted(kind.type_id for kind in end.association_types)] for end in each.to
            ]
            for each in ties.results
        },
    }


def main(address: str, token: str) -> None:
    """Speak with the address, and print what was seen."""
    client = Client.create(access_token=token, host=address)
    told = {"seen": seen(client), "searched": searched(client), "known": known(client)}
    told |= {"written": written(client), "refused": refused(client)}
    print(json.dumps(told, default=str))  # noqa: T201 - a program talks to who started it.


if __name__ == "__main__":
    main(*sys.argv[1:])
