"""What tests of whole fleets in virtual time share: a process in which every set iterates as in every other."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

import pytest
from convoy_simulator.ordered_sets import HASH_SEED


@pytest.fixture(scope="session")
def ordered() -> Iterator[ProcessPoolExecutor]:
    """One process, as the runner of seeds has them."""
    name, value = HASH_SEED
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            pool.submit(os.getpid).result()  # it begins now, while the environment says so
            if before is None:
                del os.environ[name]
            else:
                os.environ[name] = before
            yield pool
    finally:
        os.environ.pop(name, None) if before is None else os.environ.update({name: before})
