"""What `GET` endpoints say of models, as JSON: metadata, Triton's configuration and statistics, the index.

Pure functions; `http` does the talking.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from convoy_schema.bundle import VerifiedModel
from convoy_schema.ending import Operation
from convoy_schema.messages.gateways import Feed

from convoy_controller.gateway.lane import HOLD_S
from convoy_controller.gateway.protocol import DTYPES, datatype_of
from convoy_controller.gateway.service import DEFAULT_TIMEOUT_S
from convoy_controller.gateway.statistics import Served
from convoy_controller.gateway.tensors import Converter
from convoy_controller.gateway.waiting import DEFAULT_PRIORITY, PRIORITIES


def model_metadata(model: VerifiedModel, converter: Converter, versions: list[str]) -> dict[str, Any]:
    """What `GET /v2/models/{model}` says: tensors as a caller sees them, and the class names."""
    bundle = model.bundle
    ending, output = bundle.ending, model.topology.tensor(model.topology.output)
    datatype = datatype_of(ending)
    return {
        "name": bundle.model,
        "versions": versions,
        "platform": "convoy",
        "inputs": [
            {
                "name": bundle.input.name,
                "datatype": "FP32",
                "shape": [-1, *converter.shape],
                "parameters": {
                    "datatypes": ",".join(DTYPES),
                    "layout": bundle.input.layout,
                    "pixel_scale": bundle.input.scale,
                    "pixel_offset": bundle.input.offset,
                    "scale": converter.input.scale,
                    "zero_point": converter.input.zero_point,
                },
            }
        ],
        "outputs": [
            {
                "name": bundle.answer,
                "datatype": datatype,
                "shape": [-1, *(output.shape if ending.operation is Operation.NONE else ending.shape)],
                "parameters": {
                    "datatypes": f"{datatype},INT8",
                    "ending": ending.operation.value,
                    "scale": output.scale,
                    "zero_point": output.zero_point,
                },
                "labels": list(bundle.class_names),
            }
        ],
        "parameters": {"version": bundle.version, "bundle": model.digest},
    }


def model_config(model: VerifiedModel, converter: Converter, batch_rows: int, most_rows: int) -> dict[str, Any]:
    """Triton's model configuration: `batch_rows` are those of a frame, `most_rows` what a request may have.

    What has no meaning here is left out: there are no instance groups, and nothing is loaded through a gateway.
    """
    metadata = model_metadata(model, converter, [])
    (given,), (made,) = metadata["inputs"], metadata["outputs"]
    return {
        "name": model.bundle.model,
        "platform": "convoy",
        "backend": "convoy",
        "version_policy": {"specific": {"versions": [model.bundle.version]}},
        "max_batch_size": most_rows,
        "input": [
            {"name": given["name"], "data_type": f"TYPE_{given['datatype']}", "dims": given["shape"][1:]},
        ],
        "output": [
            {"name": made["name"], "data_type": f"TYPE_{made['datatype']}", "dims": made["shape"][1:]},
        ],
        "dynamic_batching": {
            "preferred_batch_size": [batch_rows],
            "max_queue_delay_microseconds": round(HOLD_S * 1e6),
            "preserve_ordering": False,
            "priority_levels": PRIORITIES,
            "default_priority_level": DEFAULT_PRIORITY,
            "default_queue_policy": {
                "timeout_action": "REJECT",
                "default_timeout_microseconds": round(DEFAULT_TIMEOUT_S * 1e6),
                "allow_timeout_override": True,
                "max_queue_size": most_rows,
            },
        },
        "parameters": {"bundle": {"string_value": model.digest}},
    }


def model_statistics(name: str, version: str, served: Served, answered_at: float) -> dict[str, Any]:
    """One entry of Triton's statistics; `answered_at` in wall-clock seconds, 0 for never."""
    return {"name": name, "version": version, "last_inference": round(answered_at * 1000), **served.plain()}


def repository_index(feeds: Iterable[tuple[Feed, str]]) -> list[dict[str, str]]:
    """Triton's repository index of (feed, why it is not ready): what there is, and whether it answers."""
    found: dict[tuple[str, str], str] = {}
    for feed, why_not in feeds:
        key = feed.model.model, feed.model.version
        found[key] = why_not and found.get(key, why_not)
    return [
        {"name": name, "version": version, "state": "UNAVAILABLE" if why_not else "READY", "reason": why_not}
        for (name, version), why_not in sorted(found.items())
    ]
