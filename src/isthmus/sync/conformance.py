"""What every connector is put to: the names of the checks, and what a connector gives so that they can run.

A connector's folder has a `conformance.py` with `begin(home)`: a context that yields a `Counterpart`, a system of the
vendor's kind that the checks may change. What a vendor's system cannot be put to stands in the manifest's `cannot`.
"""

from collections.abc import Mapping
from typing import Protocol

from isthmus.kernel.marks import Json

CHECKS: Mapping[str, str] = {
    "manifest_is_complete": "The manifest says what it is, what it covers and what it was proven against.",
    "feeds_name_known_types": "Feeds become record types that exist, and write what they read.",
    "writable_fields_exist": "Fields that may be written are fields of their record types.",
    "settings_are_described": "Every setting stands on the page of words, and no secret has a default.",
    "allowances_are_declared": "It says how many requests the vendor takes.",
    "lacks_have_reasons": "What it cannot be put to is a known check, with a reason.",
    "fixtures_are_there": "Rows as received lie in the folder.",
    "check_says_who_we_are": "The check of a connection says who we are there.",
    "wrong_key_is_refused_with_a_fix": "A wrong key, or a wrong setting, is told with what to do.",
    "everything_is_read": "A first reading gives every record that the list of ids has, and none in two versions.",
    "pages_keep_their_size": "No page is larger than it says.",
    "rows_come_oldest_first": "Rows come in the order of their changes.",
    "second_reading_brings_nothing_new": "Reading from the last cursor brings nothing that changed.",
    "overlap_is_read_again": "Reading goes back a while, for what was committed late.",
    "new_record_is_read": "A record made after the cursor is read.",
    "edit_is_read_with_a_new_version": "An edit after the cursor is read, under another version.",
    "burst_within_one_stamp_is_read_whole": "More records with one stamp than a page holds are all read.",
    "reading_resumes_after_every_page": "Reading goes on from the cursor of any page, and loses nothing.",
    "pages_that_shift_lose_nothing": "Records that change and go while pages are read make none be missed.",
    "foreign_cursor_is_refused": "A cursor that is not its own is refused.",
    "unknown_feed_is_refused": "A feed that is not there is refused.",
    "ids_are_what_is_there": "The list of ids has what was made, and not what was deleted.",
    "deletion_is_seen": "A deletion is told, or is seen in the list of ids.",
    "leave_is_asked": "Leave is asked before requests.",
    "without_leave_nothing_is_sent": "Without leave nothing is asked of the vendor.",
    "reading_can_stop_early": "A reading that is stopped leaves nothing behind.",
    "every_row_maps": "Every row becomes observations that its feed names, with fields that exist.",
    "mapping_is_pure": "Mapping a row twice gives the same, and leaves the row alone.",
    "rows_are_as_expected": "Rows hold what the manifest expects, and nothing else.",
    "new_record_is_made": "A new record is made there, and its id told.",
    "write_is_read_back": "The answer to a write holds the record as it stands there.",
    "only_named_fields_are_written": "Fields that are not in the change stay as they are.",
    "stale_version_overwrites_nothing": "A record that changed meanwhile is not overwritten.",
    "gone_record_is_told": "Writing to a record that is gone is answered, not raised.",
    "refusal_stops_no_other": "A change that the vendor refuses stops no other, and has a reason.",
    "answers_keep_their_order": "Many changes at once have one answer each, in order.",
    "same_key_makes_once": "A change that is sent again makes nothing twice.",
    "record_is_deleted_there": "A deletion is made there.",
    "read_only_feeds_refuse": "Feeds that are only read refuse writes, with a reason.",
    "null_clears": "A field set to null is empty there.",
    "version_after_a_write_is_current": "The version that a write answers is good for the next.",
    "what_we_say_is_what_it_holds": "What was written comes back as it was said.",
    "pull_is_complete": "A pull stores everything, and a second one changes nothing and writes nothing.",
    "killed_between_pages_goes_on": "A pull that is killed between pages goes on after the last.",
    "edit_there_comes_here": "An edit there is stored here.",
    "edit_here_is_written_once": "An edit here is written there once, and its echo changes nothing.",
    "both_sides_edit": "Edits of different fields on both sides are both kept, on both sides.",
    "record_made_here_is_made_there_once": "A record made here is made there once, even if the program is killed.",
    "deletion_there_is_noticed": "A deletion there becomes a tombstone here.",
    "deletion_here_is_made": "A deletion here is made there.",
    "plan_writes_nothing": "The preview of a push writes nothing, and the push does what it said.",
    "empty_source_deletes_nothing": "A source that lists nothing deletes nothing: the fuse trips.",
    "partial_source_deletes_nothing": "A list of ids that breaks off deletes nothing.",
    "rekeyed_source_deletes_nothing": "A source with other ids deletes nothing: the fuse trips.",
    "mass_deletion_trips_the_fuse": "A source that says that most was deleted is not believed without a person.",
    "repeated_and_reordered_rows": "Rows that come twice and in another order are taken once.",
    "throttling_is_waited_for": "A vendor that asks to slow down is waited for.",
    "outage_needs_attention": "An outage is told with its cause, and is over when it is over.",
    "unknown_form_needs_attention": "Answers in an unknown form are told with their cause, and nothing is lost.",
    "missing_field_is_quarantined": "A row without a field that it needs is kept with the cause, and clears nothing.",
    "retyped_field_is_quarantined": "A row with a field of another kind is kept with the cause.",
    "new_field_loses_nothing": "A row with a field that nobody knows is stored all the same.",
    "poison_row_stops_no_other": "A row that always fails is kept aside, and the rest arrives.",
    "late_commit_is_found": "A record that is told of late is found by the second reading.",
    "unmoved_stamp_is_found": "A change that moves no stamp is found by reading everything.",
    "merge_there_is_followed": "Two records that became one there become one here.",
    "skewed_clock_is_survived": "A vendor whose clock is two days off is heard in order.",
    "quota_is_leased": "All sessions together keep to the vendor's allowance.",
    "too_many_requests": "Behind a proxy that answers 429 with Retry-After everything arrives.",
    "server_errors": "Behind a proxy that answers 500, 502, 503 everything arrives.",
    "resets": "Behind a proxy that cuts connections everything arrives.",
    "truncated_answers": "Behind a proxy that cuts answers short everything arrives.",
    "slow_answers": "Behind a proxy that is slow everything arrives.",
    "expired_token": "Behind a proxy that lets sessions expire everything arrives.",
    "skewed_date_header": "Behind a proxy with a clock two days off, times to wait are kept.",
    "garbage_answers": "Behind a proxy that answers with a page for people, the cause is told and nothing is lost.",
    "storm": "Behind a proxy that does all of it by a seed nothing is missed, doubled or destroyed, both ways.",
}


class Counterpart(Protocol):
    """A system of the vendor's kind; its methods act as people do there, beside the connector.

    `settings` connect to it, `wrong` are some that must be refused (empty: there are none). `feed` and `type` are what
    the checks read and write; `fields` are two texts of that type that are not critical and that the system can hold.
    `page_rows` is how many rows a page of it has at most. `refused` is a change that the system never takes.
    """

    settings: Mapping[str, str]
    wrong: Mapping[str, str]
    feed: str
    type: str
    fields: tuple[str, str]
    page_rows: int
    refused: Mapping[str, Json]

    def put(self, external_id: str | None, values: Mapping[str, str]) -> str:
        """Make a record, or change one, by our names of `fields`; returns its id."""
        ...

    def burst(self, count: int) -> list[str]:
        """Make many records at once, with one stamp where the system does that; returns their ids."""
        ...

    def delete(self, external_id: str) -> None:
        """Delete a record."""
        ...

    def held(self, external_id: str) -> Mapping[str, str | None] | None:
        """Return what a record holds, by our names of `fields`; nothing when it is gone."""
        ...
