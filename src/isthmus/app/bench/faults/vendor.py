"""The vendor as it is described to the engine: what any connector of a REST interface is made of."""

from isthmus.stream.limits import Rate
from isthmus.sync.connector import Connector, Setting
from isthmus.sync.rest.columns import col
from isthmus.sync.rest.connector import describe
from isthmus.sync.rest.described import ByHeader, Check, Collection, Since, Vendor, Writes
from isthmus.sync.rest.paging import ByCursor

TYPE, NAME = "sales.deal", "deals_by_number"
SCAN_S = 86_400


def described() -> Connector:
    """Return the connector; everything is read anew once a day."""
    place = ByCursor(parameter="place", path="next")
    deals = Collection(
        name="deals",
        path="/deals",
        types={TYPE: (col("name", "title"), col("next_step", "next_step"))},
        paging=place,
        stamp="changed_at",
        since=Since(parameter="since"),
        listed=("/ids",),
        deleted=("deleted", True),
        page_rows_max=20_000,
        writes=Writes(),
        writes_types=(TYPE,),
        scan_s=SCAN_S,
    )
    vendor = Vendor(
        name=NAME,
        title="The vendor",
        sign_in=ByHeader(settings=(Setting(name="token", about="The key.", secret=True),)),
        check=Check(path="/deals", names=("next",)),
        feeds=(deals,),
    )
    return describe(
        vendor,
        about="Deals that are known by their numbers.",
        proven="Only this bench.",
        allowances=(Rate(count=1_000_000, seconds=1),),
    )
