"""MLServer beside us: its environment, the ways to run it that are tried, and one of them as a process."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from convoy_schema.names import digest_of

from convoy_controller.broker import free_port
from convoy_controller.errors import DemoError
from convoy_controller.local_fleet import SINGLE_THREADED
from convoy_controller.processes import Processes

FILES = Path(__file__).with_name("mlserver_peer")
#: Pythons that MLServer runs on, the first that is there.
PYTHONS = ("python3.11", "python3.12", "python3.10")
START_S = 60.0


@dataclass(frozen=True)
class Way:
    """One way to run it: worker processes (0: in the server itself), ONNX Runtime's threads, adaptive batching."""

    workers: int = 0
    threads: int = 1
    batch: int = 0
    batch_s: float = 0.0

    def __str__(self) -> str:
        batching = f"batches of {self.batch} within {self.batch_s * 1000:g} ms" if self.batch else "no batching"
        return f"{self.workers} workers, {self.threads} threads, {batching}"


WAYS = (
    Way(),
    Way(threads=2),
    Way(batch=64, batch_s=0.002),
    Way(workers=1),
    Way(workers=2),
    Way(workers=2, batch=64, batch_s=0.002),
)


@dataclass(frozen=True)
class Model:
    """What it serves: the quantised ONNX file, and how pixels become its real input."""

    name: str
    onnx: bytes
    scale: float
    offset: float


def environment() -> Path:
    """The program `mlserver` in an environment of its own, which is made when it is not there; raises `DemoError`."""
    wanted = (FILES / "requirements.txt").read_bytes()
    base = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    folder = base / "convoy" / f"mlserver-{digest_of(wanted)[-12:]}"
    program = folder / "bin" / "mlserver"
    if (folder / "whole").exists():
        return program
    shutil.rmtree(folder, ignore_errors=True)
    python = next((path for name in PYTHONS if (path := _python(name))), None)
    if python is None:
        raise DemoError(f"MLServer needs one of {', '.join(PYTHONS)}, and none is there")
    print(f"installing MLServer into {folder} (once; a minute or two) ...", file=sys.stderr)
    for command in (
        [python, "-m", "venv", str(folder)],
        [str(folder / "bin" / "pip"), "install", "--quiet", "--no-input", "-r", str(FILES / "requirements.txt")],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise DemoError(f"MLServer could not be installed:\n{done.stderr[-2000:]}")
    (folder / "whole").touch()
    return program


def _python(name: str) -> str | None:
    """Its path, if it runs: a version manager leaves shims that exist and fail."""
    path = shutil.which(name)
    if path is None:
        return None
    works = subprocess.run([path, "-c", "import venv, ensurepip"], capture_output=True, check=False).returncode == 0
    return path if works else None


@contextmanager
def running(program: Path, model: Model, way: Way, folder: Path, processes: Processes) -> Iterator[str]:
    """MLServer that serves `model` in that `way`, until the context ends; yields its address."""
    place = folder / "mlserver"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    shutil.copy(FILES / "onnx_runtime.py", place)
    (place / "model.onnx").write_bytes(model.onnx)
    settings = json.loads((FILES / "settings.json").read_text(encoding="utf-8"))
    settings["parallel_workers"] = way.workers
    (place / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
    described = json.loads((FILES / "model-settings.json").read_text(encoding="utf-8"))
    described |= {"name": model.name, "max_batch_size": way.batch, "max_batch_time": way.batch_s}
    described["parameters"]["uri"] = str(place / "model.onnx")
    described["parameters"]["extra"] = {
        "intra_op_threads": way.threads,
        "scale": model.scale,
        "offset": model.offset,
    }
    (place / "model-settings.json").write_text(json.dumps(described), encoding="utf-8")
    ports: set[int] = set()
    while len(ports) < 3:
        ports.add(free_port())
    port, *others = ports
    variables = {
        **SINGLE_THREADED,
        "MLSERVER_HTTP_PORT": str(port),
        "MLSERVER_GRPC_PORT": str(others[0]),
        "MLSERVER_METRICS_PORT": str(others[1]),
        "PYTHONPATH": str(place),
    }
    url = f"http://127.0.0.1:{port}"
    processes.start("mlserver", [str(program), "start", str(place)], folder / "mlserver.log", env=variables)
    try:
        processes.wait_ready("mlserver", lambda: _is_ready(url, model.name), START_S, 0.1)
        yield url
    finally:
        processes.stop_one("mlserver")


def _is_ready(url: str, model: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/v2/models/{model}/ready", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
