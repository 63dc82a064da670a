"""The description of all events and of the ways in which they are told: AsyncAPI 3.0, made from the catalogue."""

from isthmus.kernel.marks import Json
from isthmus.stream.envelope import MEDIA_TYPE
from isthmus.stream.topics import EventType, Topics

_Map = dict[str, Json]
_TEXT: _Map = {"type": "string"}
_ENVELOPE: _Map = {
    "type": "object",
    "description": "CloudEvents 1.0; events of one `partitionkey` come in the order of their `sequence`.",
    "properties": {
        "specversion": {"const": "1.0"},
        "id": {"type": "string", "description": "The same whenever and however the event is told."},
        "source": {"type": "string", "format": "uri-reference"},
        "type": _TEXT,
        "subject": {"type": "string", "description": "The id of the record."},
        "time": {"type": "string", "format": "date-time"},
        "datacontenttype": {"const": "application/json"},
        "sequence": {"type": "string", "description": "The number in the log, from which reading can go on."},
        "partitionkey": {"type": "string", "description": "The account that the record belongs to, or the record."},
        "data": {"type": "object"},
    },
    "required": ["specversion", "id", "source", "type", "subject", "time", "sequence", "partitionkey", "data"],
}


def asyncapi(topics: Topics, *, title: str, version: str) -> _Map:
    """Return the document."""
    messages: _Map = {name: {"$ref": f"#/components/messages/{name}"} for name in topics.types}
    channels: _Map = {
        "feed": {
            "address": "/api/v1/events",
            "title": "Live feed",
            "description": "Server-sent events; `Last-Event-ID` goes on after the event that was seen last.",
            "messages": messages,
        },
        "webhooks": {
            "address": None,
            "title": "Webhooks",
            "description": "POSTs to registered addresses, at least once each, with the headers of Standard Webhooks.",
            "messages": messages,
        },
    }
    for topic in topics.topics:
        channels[topic.name] = {
            "address": f"/api/v1/events?topic={topic.name}",
            "title": topic.name,
            "description": topic.about,
            "messages": {name: messages[name] for name in topics.members(topic)},
        }
    operations: _Map = {name: {"action": "send", "channel": {"$ref": f"#/channels/{name}"}} for name in channels}
    return {
        "asyncapi": "3.0.0",
        "info": {"title": title, "version": version, "description": "What happens, as it is told to others."},
        "defaultContentType": MEDIA_TYPE,
        "channels": channels,
        "operations": operations,
        "components": {
            "messages": {name: _message(each) for name, each in topics.types.items()},
            "schemas": {"cloudevent": _ENVELOPE},
        },
    }


def _message(event: EventType) -> _Map:
    own: _Map = {"type": "object", "properties": {"type": {"const": event.type}, "data": event.schema}}
    return {
        "name": event.type,
        "title": event.type,
        "summary": event.about,
        "contentType": MEDIA_TYPE,
        "payload": {"allOf": [{"$ref": "#/components/schemas/cloudevent"}, own]},
    }
