"""Damaged ONNX files: each refused with a reason that says what is wrong, without a trace and in bounded memory."""

import contextlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from convoy_controller.errors import ImportRefusedError
from convoy_controller.importer import import_model
from damaged_models import SHAPE, files, sound
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_builder import Builder

CASES = list(files())
SAMPLES = np.random.default_rng(1).normal(0, 1, (8, *SHAPE)).astype(np.float32)
#: Megabytes by which all of them together may raise what the process holds: far below any of the gigantic sizes.
MOST_MEGABYTES = 250

_RUN = """
import resource, sys
from pathlib import Path
import numpy as np
from convoy_controller.errors import ImportRefusedError
from convoy_controller.importer import import_model

def held():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

samples = np.load(sys.argv[1] + "/samples.npy")
import_model(Path(sys.argv[1]) / "sound.onnx", samples, name="sound")
before, refused = held(), 0
for path in sorted(Path(sys.argv[1]).glob("*.bad")):
    try:
        import_model(path, samples, name="damaged")
        print("taken:", path.name)
    except ImportRefusedError:
        refused += 1
print(refused, held() - before)
"""


def test_there_are_fifty_and_the_sound_one_is_taken(tmp_path: Path) -> None:
    assert len({name for name, _, _ in CASES}) == len(CASES) >= 50
    (tmp_path / "sound.onnx").write_bytes(sound().SerializeToString())
    model = import_model(tmp_path / "sound.onnx", SAMPLES, name="sound")
    assert [layer.name for layer in model.topology.layers] == ["conv1", "pool1", "dense1"]


@pytest.mark.parametrize(("word", "content"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_damaged_file_is_refused_by_what_is_wrong(tmp_path: Path, word: str, content: bytes) -> None:
    path = tmp_path / "damaged.onnx"
    path.write_bytes(content)
    with pytest.raises(ImportRefusedError) as caught:
        import_model(path, SAMPLES, name="damaged")
    reasons = caught.value.data["reasons"]
    assert isinstance(reasons, list)
    assert reasons
    assert word in str(caught.value)
    assert "Traceback" not in str(caught.value)
    assert all(len(reason) < 2000 for reason in reasons)


def test_all_of_them_take_little_memory_and_say_nothing_on_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "sound.onnx").write_bytes(sound().SerializeToString())
    np.save(tmp_path / "samples.npy", SAMPLES)
    for name, _, content in CASES:
        (tmp_path / f"{name}.bad").write_bytes(content)
    command = [sys.executable, "-c", _RUN, str(tmp_path)]
    ran = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""
    refused, megabytes = map(int, ran.stdout.split())
    assert refused == len(CASES)
    assert megabytes < MOST_MEGABYTES


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=6))
def test_a_few_wrong_bytes_are_refused_or_harmless(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[float, int]]
) -> None:
    content = bytearray(sound().SerializeToString())
    for place, value in changes:
        content[int(place * len(content))] = value
    path = tmp_path_factory.mktemp("wrong") / "wrong.onnx"
    path.write_bytes(content)
    with contextlib.suppress(ImportRefusedError):  # and no other error
        import_model(path, SAMPLES, name="wrong").topology.check()


def test_every_damage_is_named_at_once(tmp_path: Path) -> None:
    b = Builder(SHAPE)
    x = b.node("Erf", b.node("Sigmoid", b.conv("x", 3, 4)))
    model = b.model(b.node("HardSwish", x))
    model.graph.initializer[0].raw_data = b"12"
    (tmp_path / "broken.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ImportRefusedError, match="bytes"):  # what is damaged comes before what is not there
        import_model(tmp_path / "broken.onnx", SAMPLES, name="damaged")
    whole = b.save(tmp_path, "hardswish_3_out")
    with pytest.raises(ImportRefusedError) as caught:
        import_model(whole, SAMPLES, name="damaged")
    assert [reason.split(":")[0] for reason in caught.value.data["reasons"]] == [
        "sigmoid_1 (Sigmoid)",
        "erf_2 (Erf)",
        "hardswish_3 (HardSwish)",
    ]
    assert all("Clip (Relu6)" in reason for reason in caught.value.data["reasons"])
