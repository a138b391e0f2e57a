"""Every bench by name, with what it shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from convoy_controller.bench.figures import Result


@dataclass(frozen=True)
class Bench:
    """`run` takes a broker as `convoy demo --broker` does."""

    about: str
    run: Callable[[str], Result]


def _pipeline(broker: str) -> Result:
    from convoy_controller.bench import pipeline

    return pipeline.run(broker)


def _throughput(broker: str) -> Result:
    from convoy_controller.bench import throughput

    return throughput.run(broker)


def _footprint(broker: str) -> Result:
    from convoy_controller.bench import footprint

    return footprint.run(broker)


def _scaling(broker: str) -> Result:
    from convoy_controller.bench import scaling

    return scaling.run(broker)


def _delivery(broker: str) -> Result:
    from convoy_controller.bench import delivery

    return delivery.run(broker)


def _bitstream(broker: str) -> Result:
    from convoy_controller.bench import bitstream

    return bitstream.run(broker)


def _networks(broker: str) -> Result:
    from convoy_controller.bench import shipped

    return shipped.run(broker)


def _plan(broker: str) -> Result:
    from convoy_controller.bench import planning

    return planning.run(broker)


def _serve(broker: str) -> Result:
    from convoy_controller.bench import serve

    return serve.run(broker)


def _metrics(broker: str) -> Result:
    from convoy_controller.bench import metrics

    return metrics.run(broker)


def _queries(broker: str) -> Result:
    from convoy_controller.bench import queries

    return queries.run(broker)


def _history(broker: str) -> Result:
    from convoy_controller.bench import history

    return history.run(broker)


BENCHES = {
    "pipeline": Bench("frames/s and latency over three boards, beside a raw paho relay", _pipeline),
    "throughput": Bench("LeNet-5 over three boards, beside one process of the same NumPy code", _throughput),
    "footprint": Bench("memory and start-up of every process, over 50,000 requests", _footprint),
    "scaling": Bench("paced pipelines and replicas on 1 to 3 boards, beside what their plans predict", _scaling),
    "networks": Bench(
        "every network that comes along on 1, 3 and 6 paced boards, beside its plan (a quarter of an hour)", _networks
    ),
    "delivery": Bench("what the controller sends to 1 and 32 boards, and what a blob costs everyone else", _delivery),
    "bitstream": Bench("the check of a partial image before a load, beside a hash of it", _bitstream),
    "serve": Bench(
        "requests/s over HTTP at 1, 8 and 64 callers, beside MLServer; goodput at 5 x capacity (five minutes)",
        _serve,
    ),
    "metrics": Bench("CPU of a scrape at 1,000 and 10,000 boards, beside prometheus_client", _metrics),
    "queries": Bench(
        "the status queries over 100,000 boards and 10,000,000 rows in PostgreSQL, a tenth in SQLite (ten minutes)",
        _queries,
    ),
    "history": Bench(
        "CPU to take in the telemetry of 10,000 boards, and the database's size over two virtual years (ten minutes)",
        _history,
    ),
    "plan": Bench("plans of up to 64 boards of 4 kinds: time, proven gap, and simple splits beside them", _plan),
}
