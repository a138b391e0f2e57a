"""What tests of every side share: a real broker and a real PostgreSQL, on free ports, as long as they are wanted."""

from __future__ import annotations

import contextlib
import functools
import gc
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mosquitto_process import MOSQUITTO, MosquittoProcess
from own_ports import own_port
from postgresql_server import PostgresqlServer, started
from tls_broker import Guarded

# Before NumPy is imported, here and by whatever is started: there are as many processes as cores already, and a second
# BLAS thread of each only waits for its core.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Started in the background of a script: then it would be ignored here, and by every process that a test starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)

with contextlib.suppress(ImportError):  # the board's own environment has no hypothesis, and no property tests
    from hypothesis import HealthCheck, settings

    # How long an example takes, or the drawing of it, says how busy the machine is. In all else as it was.
    settings.register_profile("convoy", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("convoy")

with contextlib.suppress(ImportError):  # nor commands
    import typer.testing

    # The tree of commands is built once; for each call it would take longer than most commands do.
    typer.testing._get_command = functools.cache(typer.testing._get_command)  # type: ignore[attr-defined]


def pytest_collection_finish() -> None:
    """What was collected stays to the end: to look through all of it takes 0.4 s, which many tests would do."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def start_broker(tmp_path: Path) -> Iterator[Callable[[], MosquittoProcess]]:
    """Makes brokers that end with the test."""
    if MOSQUITTO is None:
        pytest.skip("mosquitto is not installed")
    started: list[MosquittoProcess] = []

    def start() -> MosquittoProcess:
        directory = tmp_path / f"mosquitto-{len(started)}"
        directory.mkdir()
        process = MosquittoProcess(directory)
        started.append(process)
        process.start()
        return process

    yield start
    for process in started:
        process.stop()


@pytest.fixture
def broker(start_broker: Callable[[], MosquittoProcess]) -> MosquittoProcess:
    """A running Mosquitto; its address is `broker.url`."""
    return start_broker()


@pytest.fixture(scope="module")
def module_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MosquittoProcess]:
    """A running Mosquitto for all tests of a module."""
    if MOSQUITTO is None:
        pytest.skip("mosquitto is not installed")
    process = MosquittoProcess(tmp_path_factory.mktemp("mosquitto"))
    process.start()
    yield process
    process.stop()


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Guarded]:
    """A running Mosquitto on the shipped files: TLS, certificates, access rules."""
    if MOSQUITTO is None:
        pytest.skip("mosquitto is not installed")
    with Guarded(tmp_path / "guarded", port=own_port()) as broker:
        yield broker


@pytest.fixture(scope="session")
def shared_postgresql() -> Iterator[PostgresqlServer]:
    """One server for all tests of this process that leave it running."""
    with started() as server:
        yield server


@pytest.fixture
def postgresql(shared_postgresql: PostgresqlServer) -> Iterator[PostgresqlServer]:
    """The shared server, for a test that may stop it: afterwards it runs again."""
    yield shared_postgresql
    shared_postgresql.stop()
    shared_postgresql.start()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database of either kind that holds nothing but its tables."""
    from ready_databases import ready_postgresql, ready_sqlite

    if request.param == "sqlite":
        yield ready_sqlite(tmp_path / "convoy.db")
        return
    server: PostgresqlServer = request.getfixturevalue("shared_postgresql")
    url = ready_postgresql(server)
    yield url
    server.drop(url)


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database that nobody has opened yet, of either kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'convoy.db'}"
    server: PostgresqlServer = request.getfixturevalue("shared_postgresql")
    return server.new_database()


# The layer library ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def counting() -> Any:
    """The kernels with counters in their loops; CONVOY_HLS_LIBRARY names another build of them (hls_quality.py)."""
    from convoy_hls import Library, unavailable
    from convoy_hls.build import COUNTING, library

    reason = unavailable()
    if reason:
        pytest.skip(reason)
    if named := os.environ.get("CONVOY_HLS_LIBRARY"):
        return Library(Path(named))
    return library(COUNTING, Path(__file__).parents[1] / ".pytest_cache" / "hls")
