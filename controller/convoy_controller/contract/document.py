"""The AsyncAPI 3.0 document: channels, who sends and receives on them, and what is in a message; and as YAML."""

from __future__ import annotations

import difflib
import functools
import re
from typing import Any

import yaml
from convoy_schema import version
from convoy_schema.artifacts import ASK_AGAIN_S, BLOCK_BYTES, MAX_ARTIFACT, WINDOW
from convoy_schema.channels import CHANNELS, Channel, Party
from convoy_schema.names import NAME_PATTERN

from convoy_controller.contract.schemas import schemas

#: Version of the AsyncAPI specification that the document follows.
ASYNCAPI = "3.0.0"
_MQTT = "0.2.0"

_HEADER = "# Made from the code by `convoy contract --output docs/asyncapi.yaml`; `make check` holds the two equal.\n"

_DESCRIPTION = f"""\
What boards, gateways and the controller of a Convoy fleet say to each other over MQTT 3.1.1, with clean sessions.
How they must behave is in contract.md, by numbered rules.

Payloads are one MessagePack map each, but for blocks. Integers are MessagePack integers, byte strings are of type bin,
enumerations are their strings, and a field's default stands where it is missing. A field that is not in the schema is
ignored. `v` is the version pair; this is version {version.CURRENT}.

No correctness rests on the broker: not on keepalive, takeover, wills, retained messages or QoS 1."""

_BLOCK = f"""\
Bytes [{BLOCK_BYTES} * block, {BLOCK_BYTES} * (block + 1)) of the packed artifact, and nothing else: no map, no header.
The last block is as long as what is left. The packed artifact is the content in zlib format (RFC 1950); the manifest
says how long both are and has the SHA-256 of each block, 32 bytes. Content and packed bytes are at most {MAX_ARTIFACT}
each. A board asks for at most {WINDOW} blocks that have not come, over all its artifacts, and for one again after
{ASK_AGAIN_S:g} s at the earliest."""

_PARAMETERS = {
    "site": "Boards behind one uplink.",
    "board": "Name of a board.",
    "gateway": "Name of a gateway.",
    "model": "Name of a model.",
    "version": "A model's version.",
    "digest": "SHA-256 of an artifact's content: 64 of 0-9 and a-f.",
    "block": "Number of a block, from 0: decimal, without leading zeros.",
    "sender": "Board or gateway that sends.",
    "receiver": "Board or gateway that it is for.",
    "deployment": "Name of a deployment.",
    "generation": "EPOCH-COUNTER, as in 1-17: two decimal numbers without leading zeros.",
    "stage": "The stage that the frame is for: decimal, without leading zeros. The number of stages: the gateway.",
}
_DECIMAL = "0|[1-9][0-9]{0,8}"
_PATTERNS = {
    "digest": "[0-9a-f]{64}",
    "block": _DECIMAL,
    "stage": _DECIMAL,
    "generation": "(0|[1-9][0-9]{0,18})-(0|[1-9][0-9]{0,18})",
}
_EXAMPLES = {"generation": "1-17", "block": "0", "stage": "1", "digest": "0" * 64, "site": "main"}


def document() -> dict[str, Any]:
    """The whole document, in the order in which it is to be read."""
    return {
        "asyncapi": ASYNCAPI,
        "info": {
            "title": "Convoy fleet",
            "version": f"{version.CURRENT}.0.0",
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/msgpack",
        "servers": {"broker": _server()},
        "channels": {channel.name: _channel(channel) for channel in CHANNELS},
        "operations": dict(item for channel in CHANNELS for item in _operations(channel)),
        "components": {
            "messages": {_message_name(channel): _message(channel) for channel in CHANNELS},
            "parameters": {name: _parameter(name) for name in _PARAMETERS},
            "schemas": schemas(),
        },
    }


@functools.cache
def text() -> str:
    """The document as YAML."""
    body: str = yaml.dump(document(), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=118)
    return _HEADER + body


def difference(existing: str, name: str) -> str:
    """How `existing`, the text of file `name`, differs from what the code says; '' when it does not."""
    lines = difflib.unified_diff(existing.splitlines(), text().splitlines(), name, "what the code says", lineterm="")
    return "\n".join(lines)


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]  # PyYAML ships no types
    """Prose in blocks, and nothing by alias: a reader looks for the words themselves."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _string(dumper: yaml.SafeDumper, value: str) -> Any:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _string)


def _server() -> dict[str, Any]:
    return {
        "host": "{host}:{port}",
        "protocol": "mqtt",
        "protocolVersion": "3.1.1",
        "description": (
            "Any MQTT 3.1.1 broker. With TLS the user's name is the common name of the client's certificate: a "
            "board's or gateway's own name, or `controller`; access rules hold everyone to their own topics."
        ),
        "variables": {
            "host": {"default": "127.0.0.1"},
            "port": {"default": "1883", "description": "8883 with TLS."},
        },
        "bindings": {
            "mqtt": {
                "clientId": "{board}:{role}:{nonce}",
                "cleanSession": True,
                "keepAlive": 5,
                "bindingVersion": _MQTT,
            }
        },
    }


def _channel(channel: Channel) -> dict[str, Any]:
    names = re.findall(r"{(\w+)}", channel.address)
    message = _message_name(channel)
    made: dict[str, Any] = {
        "address": channel.address,
        "description": channel.what,
        "messages": {message: {"$ref": f"#/components/messages/{message}"}},
        "parameters": {name: {"$ref": f"#/components/parameters/{name}"} for name in names},
        "x-qos": channel.qos,
        "x-retained": channel.retained,
        "x-writers": [party.value for party in channel.writers],
        "x-readers": [party.value for party in channel.readers],
        "x-will": channel.is_will,
    }
    return made


def _operations(channel: Channel) -> list[tuple[str, dict[str, Any]]]:
    made = [(party, "send") for party in channel.writers] + [(party, "receive") for party in channel.readers]
    return [
        (f"{party.value}{action.title()}s{_capital(channel.name)}", _operation(channel, party, action))
        for party, action in made
    ]


def _operation(channel: Channel, party: Party, action: str) -> dict[str, Any]:
    message = _message_name(channel)
    mqtt: dict[str, Any] = {"qos": channel.qos, "bindingVersion": _MQTT}
    if action == "send":
        mqtt["retain"] = channel.retained
    will = " It is left with the broker as the will as well." if action == "send" and channel.is_will else ""
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel.name}"},
        "summary": f"A {party.value} {action}s it.{will}",
        "tags": [{"name": party.value}],
        "bindings": {"mqtt": mqtt},
        "messages": [{"$ref": f"#/channels/{channel.name}/messages/{message}"}],
    }


def _message(channel: Channel) -> dict[str, Any]:
    if channel.message is None:
        return {
            "name": _message_name(channel),
            "contentType": "application/octet-stream",
            "description": _BLOCK,
            "payload": {"type": "string", "format": "binary", "maxLength": BLOCK_BYTES, "x-max-bytes": BLOCK_BYTES},
        }
    name = channel.message.__name__
    return {
        "name": name,
        "contentType": "application/msgpack",
        "description": f"At most {channel.max_bytes} bytes.",
        "payload": {"$ref": f"#/components/schemas/{name}"},
    }


def _message_name(channel: Channel) -> str:
    return "Block" if channel.message is None else channel.message.__name__


def _parameter(name: str) -> dict[str, Any]:
    # AsyncAPI 3.0 has no schema for a parameter: the pattern is an extension.
    return {
        "description": _PARAMETERS[name],
        "examples": [_EXAMPLES.get(name, f"{name}-1")],
        "x-pattern": f"^({_PATTERNS.get(name, NAME_PATTERN)})$",
    }


def _capital(name: str) -> str:
    return name[0].upper() + name[1:]
