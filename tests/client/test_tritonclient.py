"""NVIDIA's tritonclient, unchanged, against a gateway that serves LeNet-5: a thousand digits, every answer exact."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Iterator

import numpy as np
import pytest
from convoy_controller import lenet5
from convoy_controller.datasets import digits
from convoy_schema.fixedpoint import dequantise
from convoy_schema.layers import evaluate
from convoy_schema.names import Generation
from gateway_fleet import SiteThread
from gateway_models import announced
from mosquitto_process import MosquittoProcess
from numpy.typing import NDArray
from patience import PATIENCE_S

http = pytest.importorskip("tritonclient.http", reason="tritonclient is not installed")
aio = pytest.importorskip("tritonclient.http.aio")
utils = pytest.importorskip("tritonclient.utils")

COUNT = 1000
AT_ONCE = 25


class Served:
    """The gateway, the digits, and what the network makes of them."""

    def __init__(self, site: SiteThread, pixels: NDArray[np.uint8], logits: NDArray[np.float32]) -> None:
        self.site = site
        self.url = site.address.removeprefix("http://")
        self.pixels = pixels
        self.logits = logits
        self.input, self.output = "image", "logits"


@pytest.fixture(scope="module")
def served(module_broker: MosquittoProcess) -> Iterator[Served]:
    network, spec = lenet5.quantised()
    known = [digits(), digits(train=True)]
    pixels = np.concatenate([each.images for each in known])[:COUNT]
    labels = np.concatenate([each.labels for each in known])[:COUNT]
    with SiteThread(module_broker.url, model=announced(network, spec)) as site:
        model = site.site.fleet.model
        rows = site.site.service.models.converter(model).rows(pixels)
        raw = evaluate(network.topology, network.parameters, rows)[network.topology.output]
        logits = dequantise(raw, model.topology.tensor(model.topology.output))
        assert (logits.argmax(axis=1) == labels).mean() > 0.97, "LeNet-5 reads them"
        found = Served(site, pixels, logits)
        found.input, found.output = model.bundle.input.name, model.bundle.answer
        yield found


def tensor(kind: object, served: Served, array: NDArray[np.generic], *, binary: bool = True) -> object:
    made = kind.InferInput(served.input, list(array.shape), utils.np_to_triton_dtype(array.dtype))  # type: ignore[attr-defined]
    made.set_data_from_numpy(array, binary_data=binary)
    return made


def classified(served: Served, array: NDArray[np.generic], *, binary: bool, **more: object) -> NDArray[np.float32]:
    parts = []
    with http.InferenceServerClient(served.url) as client:
        for start in range(0, len(array), AT_ONCE):
            some = tensor(http, served, array[start : start + AT_ONCE], binary=binary)
            wanted = [http.InferRequestedOutput(served.output, binary_data=binary)]
            result = client.infer("lenet5", [some], outputs=wanted, request_id=f"r{start}", **more)
            assert result.get_response()["id"] == f"r{start}"
            parts.append(result.as_numpy(served.output))
    return np.concatenate(parts)


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
def test_a_thousand_digits_are_classified(served: Served, binary: bool) -> None:
    np.testing.assert_array_equal(classified(served, served.pixels, binary=binary), served.logits)


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_packed_requests_and_answers(served: Served, coding: str) -> None:
    reals = served.pixels[:200].astype(np.float32) * np.float32(1 / 255)
    more = {"request_compression_algorithm": coding, "response_compression_algorithm": coding}
    np.testing.assert_array_equal(classified(served, reals, binary=True, **more), served.logits[:200])


# It asks about health without reading the answers, whose connections are found open when they are collected: here, so
# that no other test is blamed.
@pytest.mark.filterwarnings("ignore:Unclosed connection:ResourceWarning")
def test_many_at_once_over_its_asyncio_client(served: Served) -> None:
    async def work() -> None:
        async with aio.InferenceServerClient(served.url, conn_limit=16) as client:

            async def ask(start: int) -> NDArray[np.float32]:
                some = tensor(aio, served, served.pixels[start : start + 10])
                result = await client.infer("lenet5", [some], priority=1 + start % 9, timeout=20_000_000)
                return np.asarray(result.as_numpy(served.output))

            parts = await asyncio.gather(*[ask(start) for start in range(0, 250, 10)])
            np.testing.assert_array_equal(np.concatenate(parts), served.logits[:250])
            # While answers are overdue, as on a busy machine, the gateway doubts its deployment, and tests it again.
            while not await client.is_server_ready():
                await asyncio.sleep(0.05)
            assert await client.is_server_live()

    asyncio.run(asyncio.wait_for(work(), 4 * PATIENCE_S))
    gc.collect()


def test_classes_by_name(served: Served) -> None:
    with http.InferenceServerClient(served.url) as client:
        for binary in (True, False):
            wanted = [http.InferRequestedOutput(served.output, binary_data=binary, class_count=2)]
            some = tensor(http, served, served.pixels[:5])
            texts = client.infer("lenet5", [some], outputs=wanted).as_numpy(served.output)
            assert texts.shape == (5, 2)
            best = [int((text.decode() if binary else text).split(":")[1]) for text in texts[:, 0]]
            assert best == served.logits[:5].argmax(axis=1).tolist()


def test_everything_else_it_asks_about_a_server(served: Served) -> None:
    with http.InferenceServerClient(served.url) as client:
        assert client.is_server_live()
        patience = time.monotonic() + 20  # after the tests before, golden rows may be late on a busy machine
        while not client.is_server_ready() and time.monotonic() < patience:
            time.sleep(0.05)
        assert client.is_model_ready("lenet5")
        assert client.is_model_ready("lenet5", "1")
        assert not client.is_model_ready("lenet5", "2")
        assert client.get_server_metadata()["name"] == "convoy"
        assert client.get_model_metadata("lenet5")["inputs"][0]["shape"] == [-1, 1, 28, 28]
        assert client.get_model_config("lenet5", "1")["dynamic_batching"]["priority_levels"] == 8
        assert client.get_model_repository_index()[0]["state"] == "READY"
        assert client.get_inference_statistics("lenet5")["model_stats"][0]["inference_count"] > 0
        assert client.get_inference_statistics()["model_stats"][0]["name"] == "lenet5"
        for call in (client.load_model, client.unload_model):
            with pytest.raises(utils.InferenceServerException, match="no such endpoint"):
                call("lenet5")


def test_refusals_are_its_own_exceptions(served: Served) -> None:
    with http.InferenceServerClient(served.url) as client:
        some = tensor(http, served, served.pixels[:1].astype(np.int32))
        with pytest.raises(
            utils.InferenceServerException, match="must be FP32, UINT8, INT8, FP16, FP64, 'INT32' came"
        ) as no:
            client.infer("lenet5", [some])
        assert no.value.status() == "400"
        some = tensor(http, served, served.pixels[:1])
        with pytest.raises(utils.InferenceServerException, match="cats is not served here"):
            client.infer("cats", [some])
        served.site.call(lambda: served.site.site.fleet.silent.add(Generation(1, 1)))
        try:
            with pytest.raises(utils.InferenceServerException, match=r"within 0\.05 s") as late:
                client.infer("lenet5", [some], timeout=50_000)  # microseconds
            assert late.value.status() == "504"
        finally:
            served.site.call(served.site.site.fleet.silent.clear)
