"""A layer that no kernel of the fabric can run lands on the boards' processors, and changes no bit of the answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from convoy_controller.bench.rig import Described
from convoy_controller.cli import app
from convoy_schema.bundle import Method
from convoy_schema.layers import Parameters, evaluate, fixed_point, pack_parameters
from convoy_schema.limits import library_limits
from convoy_schema.names import digest_of
from convoy_schema.topology import Kind, Layer, Tensor, Topology, Window
from system_fleet import SPEC, SystemFleet, logits_of
from typer.testing import CliRunner

SHAPE = (1, 72, 72)
#: A PYNQ-Z2's, as the planner's profile has it.
A9 = {"processor_macs_per_s": 150e6, "processor_bytes_per_s": 200e6, "processor_call_s": 2e-4}


def far_network() -> Described:
    """near (3x3), far (3x3 with taps 33 apart, further than a kernel's window reaches), head (dense)."""
    random = np.random.default_rng(23)
    contents: dict[str, bytes] = {}

    def stored(*shape: int) -> str:
        multiplier, shift = fixed_point(1.0 / (90.0 * np.prod(shape[1:]) ** 0.5))
        scales = np.full(shape[0], multiplier, np.int32), np.full(shape[0], shift, np.int32)
        bias = random.integers(-500, 500, shape[0]).astype(np.int32)
        packed = pack_parameters(Parameters(random.integers(-127, 128, shape).astype(np.int8), bias, *scales))
        contents[digest_of(packed)] = packed
        return digest_of(packed)

    shapes = [SHAPE, (4, 72, 72), (6, 6, 6), (10,)]
    tensors = tuple(Tensor(f"t{n}", shape, 0.05 if n else 1 / 255, 3 if n else -128) for n, shape in enumerate(shapes))
    near, far = Window((3, 3), padding=(1, 1, 1, 1)), Window((3, 3), dilation=(33, 33))
    layers = (
        Layer("near", Kind.CONV2D, ("t0",), "t1", near, parameters=stored(4, 1, 3, 3)),
        Layer("far", Kind.CONV2D, ("t1",), "t2", far, parameters=stored(6, 4, 3, 3)),
        Layer("head", Kind.DENSE, ("t2",), "t3", parameters=stored(10, 216)),
    )
    topology = Topology("far", tensors, layers, "t0", "t3")
    assert "along the window" in library_limits(Kind.CONV2D).refusal(layers[1], tensors[1:2], tensors[2])
    rows = random.integers(-128, 128, (2, *SHAPE)).astype(np.int8)
    golden = {name: value.tobytes() for name, value in evaluate(topology, contents, rows).items()}
    return Described(topology, contents, golden, len(rows))


def test_a_convolution_beyond_every_kernel_runs_on_the_processor_to_the_last_bit(tmp_path: Path) -> None:
    network = far_network()
    images = np.random.default_rng(24).integers(0, 256, (24, *SHAPE)).astype(np.uint8)
    expected = logits_of(network, SPEC, images)
    assert len(np.unique(expected)) > 20
    with SystemFleet(tmp_path) as fleet:
        fleet.start(2, **A9)
        fleet.publish(network, "far")
        for method, boards in ((Method.LIBRARY, 2), (Method.ALLOCATE, 1)):
            fleet.deploy(method, boards, "far")
            stages = fleet.plan("far").stages
            left = {name: stage for stage in stages for name in stage.processor}
            assert "far" in left
            for stage in stages:
                for replica in stage.replicas:
                    kinds = {layer.kind.value for layer in network.topology.layers if layer.name in stage.layers}
                    assert set(replica.slots.values()) <= kinds
            # Near is a convolution as well, and stays on the fabric: it is far quicker there.
            assert "near" not in left
            result = fleet.client.infer(images, "far")
            assert np.array_equal(result.array.view(np.uint32), expected.view(np.uint32)), method
        where = ["--home", str(fleet.home.root), "--database", fleet.home.database_url]
        for command, said in (("deployments far", "far (processor)"), ("boards board-1", "150 million MAC/s")):
            told = CliRunner().invoke(app, [*command.split(), *where])
            assert told.exit_code == 0, told.output
            assert said in " ".join(told.output.split())
