"""A network as TOML: `name`, `input`, and one `[[layer]]` a layer with its `op`, its keys, and `name` and `of`.

What the keys mean and whether they fit is for `convoy_controller.composing.network`, as it is for the builder.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from convoy_schema.errors import TomlError
from convoy_schema.toml import parse_toml

from convoy_controller.composing.values import Value, plain, shown

if TYPE_CHECKING:
    from convoy_controller.composing.network import Network, Step

#: What a network is called whose name cannot be read.
UNNAMED = "unnamed"


def read(content: str) -> tuple[Network, list[str]]:
    """The network in TOML `content`, unchecked, and what is wrong with the form of the file.

    Raises `CompositionError` where it is no TOML at all.
    """
    from convoy_controller.composing.network import refuse

    try:
        return _taken(parse_toml(content))
    except TomlError as error:
        raise refuse(UNNAMED, [f"the file must be TOML: it {error}"]) from error


def _taken(body: dict[str, Any]) -> tuple[Network, list[str]]:
    from convoy_controller.composing.network import Network

    reasons = [
        f"key `{key}`: a network has `name`, `input` and `[[layer]]` alone"
        for key in body
        if key not in ("name", "input", "layer")
    ]
    name, shape, layers = body.get("name"), body.get("input", ()), body.get("layer", [])
    if not isinstance(name, str):
        came = "nothing" if name is None else shown(plain(name))
        reasons.append(f"name: must be 1 to 63 of a-z, 0-9 and '-', {came} came")
        name = UNNAMED
    if not isinstance(layers, list):
        reasons.append(f"layer: must be `[[layer]]` tables, {shown(plain(layers))} came")
        layers = []
    network = Network(name, shape)
    for number, layer in enumerate(layers, 1):
        network = _with_layer(network, number, layer, reasons)
    return network, reasons


def _with_layer(network: Network, number: int, layer: object, reasons: list[str]) -> Network:
    """One layer more; what cannot be one stays as it is, to be refused by name."""
    if not isinstance(layer, dict):
        reasons.append(f"layer {number}: must be a table, {shown(plain(layer))} came")
        layer = {}
    values = {key: value for key, value in layer.items() if key not in ("op", "name", "of")}
    op, name, of = layer.get("op", ""), layer.get("name"), layer.get("of")
    if not isinstance(op, str):
        op = shown(plain(op))
    if name is not None and not isinstance(name, str):
        reasons.append(f"layer {number} ({op}): `name` must be a text, {shown(plain(name))} came")
        name = None
    listed = [of] if isinstance(of, str) else of
    if of is not None and not (isinstance(listed, list) and listed and all(isinstance(each, str) for each in listed)):
        reasons.append(f"layer {number} ({op}): `of` must be the name of a layer or a list, {shown(plain(of))} came")
        listed = None
    return network.with_step(op, name, listed, **values)


def written(network: Network) -> str:
    """TOML that `read` makes the same network of; layers say only what is not so by itself."""
    from convoy_controller.composing.network import Network

    lines = [f"name = {json.dumps(network.name)}", f"input = {_toml(network.input)}"]
    again = Network(network.name, network.input)
    for step in network.steps:
        lines += ["", "[[layer]]", *(f"{key} = {_toml(value)}" for key, value in _keys(again, step).items())]
        again = again.with_step(step.op, step.name, step.of, **step.values)
    return "\n".join(lines) + "\n"


def _keys(before: Network, step: Step) -> dict[str, Value]:
    usual = before.with_step(step.op, None, None).steps[-1]
    keys: dict[str, Value] = {"op": step.op}
    if step.name != usual.name:
        keys["name"] = step.name
    if step.of != usual.of:
        keys["of"] = step.of[0] if len(step.of) == 1 else step.of
    return {**keys, **step.values}


def _toml(value: Value) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value)
