"""A customer's program: Google's own library for Python reads an account, and tells how it went, as JSON.

The library speaks gRPC, and our account REST: between them stands a bridge, here, that turns one into the other by
Google's own messages, and takes no field that they do not have. Run by a Python that has the library:
python googleads_program.py ADDRESS SETTINGS WISH...
"""

import json
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import Protocol, cast

VERSION = "v26"


class Loose(Protocol):
    """Anything of the libraries, which tell no types."""

    def __getattr__(self, name: str) -> "Loose": ...
    def __getitem__(self, key: int) -> "Loose": ...
    def __call__(self, *given: object, **named: object) -> "Loose": ...
    def __iter__(self) -> Iterator["Loose"]: ...


Answer = dict[str, object]


def taken(name: str) -> Loose:
    """Return a module of the libraries."""
    return cast("Loose", import_module(name))


grpc, oauth = taken("grpc"), taken("google.oauth2.credentials")
json_format, any_pb2 = taken("google.protobuf.json_format"), taken("google.protobuf.any_pb2")
messages = taken(f"google.ads.googleads.{VERSION}.services.types.google_ads_service")
errors = taken(f"google.ads.googleads.{VERSION}.errors.types.errors")
service = taken(f"google.ads.googleads.{VERSION}.services.services.google_ads_service")
GoogleAdsClient = taken("google.ads.googleads.client").GoogleAdsClient
GoogleAdsException = cast("type[Exception]", taken("google.ads.googleads.errors").GoogleAdsException)
ResourceExhausted = cast("type[Exception]", taken("google.api_core.exceptions").ResourceExhausted)
CODES = {"INVALID_ARGUMENT", "UNAUTHENTICATED", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "NOT_FOUND"}


class Bridge:
    """Answers calls of gRPC by what an address of REST answers."""

    def __init__(self, url: str) -> None:
        """`url` is the address of the account."""
        self.url = url

    def search(self, request: Loose, context: Loose) -> object:
        """Answer `Search`."""
        return strict(self._asked("search", request, context), messages.SearchGoogleAdsResponse)

    def stream(self, request: Loose, context: Loose) -> Iterator[object]:
        """Answer `SearchStream`."""
        for each in cast("list[object]", self._asked("searchStream", request, context)):
            yield strict(each, messages.SearchGoogleAdsStreamResponse)

    def _asked(self, method: str, request: Loose, context: Loose) -> object:
        sent = cast("Answer", json_format.MessageToDict(cast("Loose", type(request)).pb(request)))
        customer = sent.pop("customerId")
        told = {str(key): str(value) for key, value in cast("list[tuple[str, str]]", context.invocation_metadata())}
        wanted = ("authorization", "developer-token", "login-customer-id")
        headers = {name: told[name] for name in wanted if name in told} | {"content-type": "application/json"}
        address = f"{self.url}/{VERSION}/customers/{customer}/googleAds:{method}"
        call = urllib.request.Request(address, json.dumps(sent).encode(), headers)  # noqa: S310 - our own account.
        try:
            with urllib.request.urlopen(call) as answer:  # noqa: S310 - our own account.
                return json.load(answer)
        except urllib.error.HTTPError as error:
            found = cast("list[dict[str, Answer]] | dict[str, Answer]", json.load(error))
            self._refused((found[0] if isinstance(found, list) else found)["error"], context)
        return None

    def _refused(self, error: Mapping[str, object], context: Loose) -> None:
        """End a call with an error, as Google does: the failure stands in the metadata that come last."""
        packed = json_format.ParseDict(cast("list[object]", error["details"])[0], any_pb2.Any())
        failure = errors.GoogleAdsFailure.pb(errors.GoogleAdsFailure())
        if not packed.Unpack(failure):
            sys.exit("the details of an error are no GoogleAdsFailure")
        key = f"google.ads.googleads.{VERSION}.errors.googleadsfailure-bin"
        context.set_trailing_metadata(((key, packed.value), ("request-id", failure.request_id)))
        name = str(error["status"])
        context.abort(getattr(grpc.StatusCode, name if name in CODES else "UNKNOWN"), error["message"])


def strict(body: object, kind: Loose) -> object:
    """Return an answer as Google's message, which it has to be in every field."""
    return kind.deserialize(
        json_format.ParseDict(body, kind.pb(kind()), ignore_unknown_fields=False).SerializeToString()
    )


def serving(url: str) -> tuple[Loose, str]:
    """Begin the bridge; returns it, and where it is."""
    bridge, server = Bridge(url), grpc.server(ThreadPoolExecutor(2))
    kinds = {"Search": ("unary_unary", bridge.search), "SearchStream": ("unary_stream", bridge.stream)}
    handlers: Answer = {}
    for name, (way, answer) in kinds.items():
        request = messages.SearchGoogleAdsRequest if name == "Search" else messages.SearchGoogleAdsStreamRequest
        response = messages.SearchGoogleAdsResponse if name == "Search" else messages.SearchGoogleAdsStreamResponse
        handlers[name] = getattr(grpc, f"{way}_rpc_method_handler")(
            answer, request_deserializer=request.deserialize, response_serializer=response.serialize
        )
    named = f"google.ads.googleads.{VERSION}.services.GoogleAdsService"
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(named, handlers),))
    port = server.add_secure_port("127.0.0.1:0", grpc.local_server_credentials())
    server.start()
    return server, f"127.0.0.1:{port}"


def local(host: object, credentials: object = None, **_: object) -> Loose:
    """Return a channel to the bridge, which carries the library's own credentials."""
    plugin = taken("google.auth.transport.grpc").AuthMetadataPlugin(
        credentials, taken("google.auth.transport.requests").Request()
    )
    own = grpc.composite_channel_credentials(grpc.local_channel_credentials(), grpc.metadata_call_credentials(plugin))
    return grpc.secure_channel(host, own)


def opened(endpoint: str, settings: Mapping[str, str], *, developer: str = "") -> Loose:
    """Return the library's service, signed in by the library itself."""
    own = oauth.Credentials(
        None,
        refresh_token=settings["refresh_token"],
        token_uri=f"{settings['token_url']}/token",
        client_id=settings["client_id"],
        client_secret=settings["client_secret"],
    )
    client = GoogleAdsClient(
        own,
        developer or settings["developer_token"],
        endpoint=endpoint,
        login_customer_id=settings["login_customer_id"],
        version=VERSION,
        use_proto_plus=True,
    )
    transport = service.GoogleAdsServiceClient.get_transport_class()
    setattr(transport, "create_channel", staticmethod(local))  # noqa: B010 - it tells no types.
    return client.get_service("GoogleAdsService")


def read(api: Loose, customer: str, queries: Mapping[str, str]) -> Answer:
    """Read what the connector asks for, once as a stream and once by pages."""
    streamed: Answer = {}
    for name, text in queries.items():
        rows = [row for part in api.search_stream(customer_id=customer, query=text) for row in part.results]
        paged = list(api.search(customer_id=customer, query=text))
        streamed[name] = {"rows": [told(row) for row in rows], "same": list(map(told, paged)) == list(map(told, rows))}
    return streamed


def told(row: Loose) -> list[object]:
    """Return what a row says, as the library reads it."""
    if row.user_list.id:
        return [row.user_list.name, row.user_list.description, row.user_list.type_.name, row.user_list.size_for_display]
    if row.segments.date:
        return [row.campaign.id, row.segments.date, row.metrics.cost_micros, row.metrics.impressions]
    if row.campaign.id:
        kind, budget = row.campaign.advertising_channel_type.name, row.campaign_budget.total_amount_micros
        return [row.campaign.name, row.campaign.status.name, kind, budget, row.campaign_budget.period.name]
    return [row.customer.id, row.customer.time_zone, row.customer.currency_code, row.customer.manager]


def refused(api: Loose, customer: str, queries: Mapping[str, str]) -> Answer:
    """Ask for what is not there, by both methods, and tell what the library makes of the errors."""
    found: Answer = {}
    for name, text in queries.items():
        for method in (api.search, api.search_stream):
            try:
                list(method(customer_id=customer, query=text))
            except (GoogleAdsException, ResourceExhausted) as error:
                status, failure = failed(cast("Loose", error))
                first = failure.errors[0]
                kind = str(cast("Loose", type(first)).pb(first).error_code.WhichOneof("error_code"))
                delay = first.details.quota_error_details.retry_delay
                after = delay.total_seconds() if delay else 0
                code = str(getattr(first.error_code, kind).name)
                found.setdefault(name, [])
                cast("list[object]", found[name]).append([status, kind, code, after])
    return found


def failed(error: Loose) -> tuple[str, Loose]:
    """Return the status and the failure of an error; of a quota that is used up the library leaves it unread."""
    if isinstance(error, GoogleAdsException):
        return str(error.error.code().name), error.failure
    last = next(value for key, value in error.errors[0].trailing_metadata() if str(key).endswith("-bin"))
    return str(error.errors[0].code().name), errors.GoogleAdsFailure.deserialize(last)


KNOWN: dict[str, Callable[[Loose, str, Mapping[str, str]], Answer]] = {"read": read, "refused": refused}


def main() -> None:
    """Do what is wished for: each wish is a name, queries by name, and the developer token if it is another."""
    url, given, wishes = sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3])
    server, endpoint = serving(url)
    done = [
        KNOWN[name](opened(endpoint, given, developer=developer), given["customer_id"], queries)
        for name, queries, developer in wishes
    ]
    server.stop(None)
    sys.stdout.write(json.dumps(done, default=str))


if __name__ == "__main__":
    main()
