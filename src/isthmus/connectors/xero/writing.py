"""Writing to Xero: contacts only, each after a look at how it stands; money is only read.

Xero takes no condition on a write, so contacts are looked at just before, and left alone where they have moved. Those
that change are sent together, with an answer for each; a new one goes alone, under its own idempotency key, and with a
number of ours by which Xero knows it again, however late it is sent once more.
"""

from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b

import msgspec

from isthmus.connectors.xero.mapping import ACCOUNT, PERSON, express, merged
from isthmus.connectors.xero.wire import CONTACTS, STAMP, Row, rows
from isthmus.kernel.marks import Json
from isthmus.kernel.words import at_path, text
from isthmus.sync.calls import UNAUTHORISED, Answer, Calls
from isthmus.sync.connector import Change, ConnectorError, KeyRefused, Outcome, Raw, Throttled, Written

PATH = "/api.xro/2.0/Contacts"
TOGETHER_MAX = 50
NUMBER_MAX = 50
_BAD, _FORBIDDEN, _BROKEN = 400, 403, 500
_QUERY = (("summarizeErrors", "false"),)
LATER = "Xero took no more writes for now."


class Writer:
    """Writes changes of contacts; `raw` makes what the engine takes of a row."""

    def __init__(self, calls: Calls, *, headers: Mapping[str, str], raw: Callable[[Row], Raw]) -> None:
        """`headers` name the organisation."""
        self._calls, self._headers, self._raw = calls, headers, raw

    async def write(self, feed: str, changes: Sequence[Change]) -> list[Written]:
        """Return one answer for each change, in order; after a lost connection the rest is not tried.

        Raises Throttled and KeyRefused while nothing has been written.
        """
        if feed != CONTACTS:
            return [Written(outcome=Outcome.REFUSED, reason=f"{feed} are only read.") for _ in changes]
        answers: dict[int, Written] = {}
        lost = ""
        for start in range(0, len(changes), TOGETHER_MAX):
            some = list(enumerate(changes))[start : start + TOGETHER_MAX]
            if not lost:
                try:
                    await self._some(some, answers)
                except (Throttled, KeyRefused):
                    if not answers:
                        raise
                    lost = LATER
                except ConnectorError as error:
                    lost = str(error)
            for at, change in some:
                failed = Written(outcome=Outcome.FAILED, external_id=change.external_id, reason=lost)
                answers.setdefault(at, failed)
        return [answers[at] for at in range(len(changes))]

    async def _some(self, some: Sequence[tuple[int, Change]], answers: dict[int, Written]) -> None:
        known = await self._look([each.external_id for _, each in some if each.external_id is not None])
        together: list[tuple[int, Change, Row]] = []
        for at, change in some:
            if change.external_id is None:
                answers[at] = await self._make(change)
                continue
            row = known.get(change.external_id)
            early = _early(change, row)
            if early is not None:
                answers[at] = early
            elif row is not None:
                sent = _sent(change, row)
                if any(other.external_id == change.external_id for _, other, _ in together):
                    # One contact is not sent twice at once: what stands first would be lost.
                    await self._send(together, answers)
                    together = []
                together.append((at, change, sent))
        await self._send(together, answers)

    async def _look(self, numbers: Sequence[str]) -> dict[str, Row]:
        """Return how contacts stand now, by id; one that is not there is left out."""
        if not numbers:
            return {}
        own = sorted(set(numbers))
        query = (("IDs", ",".join(own)), ("includeArchived", "true"), ("page", "1"), ("pageSize", "100"))
        answer = await self._calls.send("GET", PATH, query=query, headers=self._headers)
        _check(answer)
        return {str(row["ContactID"]): row for row in rows(at_path(answer.json(), "Contacts"))}

    async def _send(self, together: Sequence[tuple[int, Change, Row]], answers: dict[int, Written]) -> None:
        """Send contacts that are there already; Xero answers for each of them, in their order."""
        if not together:
            return
        sent: list[Json] = [{"ContactID": each.external_id, **row} for _, each, row in together]
        digest = blake2b(msgspec.json.encode([[each.key for _, each, _ in together], sent]), digest_size=16)
        found = await self._post(sent, key=digest.hexdigest())
        for (at, change, _), row in zip(together, found, strict=True):
            answers[at] = self._answer(change, row)

    async def _make(self, change: Change) -> Written:
        """Make a contact; a person becomes the contact that its account is."""
        owner = change.links.get("account_id")
        if change.type == PERSON and owner is None:
            return _refused(change, "A person of no company has no place among Xero's contacts.")
        if owner is not None:
            there = (await self._look([owner])).get(owner)
            if there is None or there.get("ContactStatus") != "ACTIVE":
                return _refused(change, "Its account is no longer in Xero.")
            other = text(there.get("EmailAddress"))
            if other is not None and other.casefold() != str(change.fields.get("email", other)).casefold():
                return _refused(change, f"{there.get('Name')} has another contact person in Xero, and holds one.")
            [row] = await self._post([{"ContactID": owner, **_sent(change, there)}], key=change.key)
        else:
            number = change.key[:NUMBER_MAX]
            [row] = await self._post([{"ContactNumber": number, **_sent(change, {})}], key=change.key)
        return self._answer(change, row)

    async def _post(self, sent: list[Json], *, key: str) -> list[Row]:
        """Send contacts and return a row for each; raises ConnectorError."""
        headers = {**self._headers, "Idempotency-Key": key}
        payload: Json = {"Contacts": sent}
        answer = await self._calls.send("POST", PATH, query=_QUERY, payload=payload, headers=headers, safe=True)
        if answer.status == _BAD and (elements := rows(at_path(answer.json(), "Elements"))):
            return elements
        _check(answer)
        found = rows(at_path(answer.json(), "Contacts"))
        if len(found) != len(sent):
            raise ConnectorError(
                f"Xero answered for {len(found)} of {len(sent)} contacts.", fix="They are looked at again."
            )
        return found

    def _answer(self, change: Change, row: Row) -> Written:
        reasons = [said for each in rows(row.get("ValidationErrors")) if (said := text(each.get("Message")))]
        if reasons or row.get("StatusAttributeString") == "ERROR" or row.get("HasValidationErrors") is True:
            return _refused(change, " ".join(reasons) or "Xero refuses it, and does not say why.")
        own = str(row["ContactID"])
        kept = {name: value for name, value in row.items() if name not in ("ValidationErrors", "StatusAttributeString")}
        return Written(outcome=Outcome.WRITTEN, external_id=own, raw=self._raw(kept))


def _sent(change: Change, row: Row) -> Row:
    if change.deleted:
        # Contacts are never deleted in Xero; of a person only the address is taken off its contact.
        return {"EmailAddress": ""} if change.type == PERSON else {"ContactStatus": "ARCHIVED"}
    return merged(express(change.type, change.fields, links=change.links), row)


def _early(change: Change, row: Row | None) -> Written | None:
    """Return the answer for what need not or must not be sent, if it is such."""
    own = change.external_id
    there = row is not None and row.get("ContactStatus") == "ACTIVE"
    if not there:
        left = Raw(external_id=own or "", body={}, deleted=True)
        outcome = Outcome.WRITTEN if change.deleted else Outcome.MOVED
        return Written(outcome=outcome, external_id=own, raw=left, reason="It is no longer in Xero.")
    if row is not None and change.version not in (None, row.get(STAMP)):
        return Written(outcome=Outcome.MOVED, external_id=own, reason="It has changed in Xero.")
    if change.type not in (ACCOUNT, PERSON):
        return _refused(change, "Vendors are only read.")
    return None


def _refused(change: Change, reason: str) -> Written:
    return Written(outcome=Outcome.REFUSED, external_id=change.external_id, reason=reason)


def _check(answer: Answer) -> None:
    """Raise KeyRefused or ConnectorError for an answer that is none of success."""
    if answer.status == UNAUTHORISED:
        raise KeyRefused("Xero refuses the token.", fix="Consent again: isthmus connect authorize NAME")
    if answer.status == _FORBIDDEN:
        raise ConnectorError(f"Xero lets us write no contacts: {answer.said}", fix="Add the scope accounting.contacts.")
    if not answer.good:
        raise ConnectorError(f"Xero answered {answer.status} to a write: {answer.said}", fix="See what it says.")
