"""Carries out what the agent wants of the store and the fabric. Every method blocks, and runs in a lane's thread."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
from convoy_bitstreams import floorplans
from convoy_schema import layers
from convoy_schema.names import Generation
from convoy_schema.network import prepare_network
from convoy_schema.topics import Topics

from convoy_device import effects
from convoy_device.admission import Admission
from convoy_device.effects import FabricEffect, StoreEffect
from convoy_device.errors import SelfTestError
from convoy_device.events import FabricSeen
from convoy_device.fabric import Fabric, Runnable
from convoy_device.fabric.processor import Processor
from convoy_device.modules import Modules
from convoy_device.stage import Array, Stage
from convoy_device.store import Store
from convoy_device.verification import StagePlan

#: Bytes of module images kept in memory, so that a swap at run time never waits for the disk.
IMAGE_CACHE = 16 * 1024 * 1024


class Workbench:
    """A board's store, fabric and processor, and the stages that were loaded but may not be live."""

    def __init__(
        self,
        board: str,
        topics: Topics,
        store: Store,
        fabric: Fabric,
        most_queued: int,
        processor: Processor | None = None,
    ) -> None:
        self._board = board
        self._topics = topics
        self._store = store
        self._fabric = fabric
        self._most_queued = most_queued
        self._processor = processor or Processor()
        self._images: OrderedDict[str, bytes] = OrderedDict()
        self._admission = Admission(fabric.facts.part, floorplans())
        self.modules = Modules(fabric, self._image)
        #: Stages by (deployment, generation).
        self.loaded: dict[tuple[str, Generation], Stage] = {}

    def store(self, effect: StoreEffect) -> None:
        """In the store's lane; raises `StoreError`, `ImageRefusedError`, `TopologyError` or `DecodeError`."""
        match effect:
            case effects.StoreBlock(manifest, block, content):
                self._store.write_block(manifest, block, content)
            case effects.FinishArtifact(manifest):
                self._store.finish(manifest)
            case effects.SaveModel(digest, announcement):
                self._store.save_model(digest, announcement)
            case effects.SaveLastGood(desired):
                self._store.save_last_good(desired)
            case effects.SaveEpoch(epoch):
                self._store.save_epoch(epoch)
            case effects.SaveRestart(token):
                self._store.save_restart(token)
            case effects.SaveTrust(statements):
                self._store.save_trust(statements)
            case effects.CollectGarbage(artifacts, models):
                self._store.keep(artifacts, models)
            case effects.DropArtifacts(artifacts):
                self._store.drop(artifacts)
            case effects.VerifyArtifacts(plan):
                self._verify(plan)
            case effects.LoadLayers(plan):
                self.loaded[plan.key] = self._load(plan)

    def fabric(self, effect: FabricEffect) -> None:
        """In the fabric's lane, with admitted images only; raises `FabricError`, `StoreError` or `SelfTestError`."""
        match effect:
            case effects.LoadShell(image=image):
                content = self._store.read(image)
                self._admission.check_shell(image, content)
                self._fabric.load_shell(content)
            case effects.Configure(loads):
                for load in loads:
                    self._fabric.configure(load.partition, load.kind, self._image(load.partition, load.image))
            case effects.SelfTest(plan):
                self._test(plan)

    def look(self) -> FabricSeen:
        """In the fabric's lane: what the fabric holds now."""
        return FabricSeen(self._fabric.shell(), self._fabric.partitions())

    def _verify(self, plan: StagePlan) -> None:
        """Hash every artifact again, and look into every image, while the fabric still does what it did."""
        for digest in plan.needs:
            content = self._store.read(digest)
            for (partition, _), image in plan.images.items():
                if image == digest:
                    self._admission.check_module(partition, digest, content)
        if plan.shell_image is not None and plan.shell_image in self._store.digests():
            self._admission.check_shell(plan.shell_image, self._store.read(plan.shell_image))

    def _load(self, plan: StagePlan) -> Stage:
        wanted = plan.topology.layers[plan.start : plan.end]
        parameters = {digest: self._store.read(digest) for digest in plan.parameters}
        works: list[Runnable]
        if plan.is_network:
            works = [prepare_network(plan.topology, parameters)]
        else:
            works = [layers.prepare(layer, plan.topology, layers.load(layer, parameters)) for layer in wanted]
        return Stage(plan, works, self._board, self._topics, self._most_queued, self._processor)

    def _test(self, plan: StagePlan) -> None:
        stage = self.loaded.get(plan.key)
        if stage is None:
            raise SelfTestError("the stage is no longer loaded")
        values = {tensor: self._golden(plan, tensor) for tensor in plan.takes}
        stage.forward(values, lambda layer, inputs, coming: self.modules.run(layer, inputs, plan.images, coming))
        for tensor in plan.gives:
            expected = self._golden(plan, tensor)
            wrong = int(np.count_nonzero(values[tensor] != expected))
            if wrong:
                raise SelfTestError(
                    f"tensor {tensor!r} differs from its golden values in {wrong} of {expected.size} elements",
                    tensor=tensor,
                    wrong=wrong,
                )

    def _golden(self, plan: StagePlan, tensor: str) -> Array:
        shape = (plan.golden_rows, *plan.topology.tensor(tensor).shape)
        content = self._store.read(plan.golden[tensor])
        if len(content) != int(np.prod(shape)):
            raise SelfTestError(
                f"golden values of {tensor!r} take {len(content)} bytes, shape {shape} needs {int(np.prod(shape))}",
                tensor=tensor,
            )
        return np.frombuffer(content, np.int8).reshape(shape)

    def _image(self, partition: str, digest: str) -> bytes:
        content = self._images.pop(digest, None)
        if content is None:
            content = self._store.read(digest)
        self._admission.check_module(partition, digest, content)
        self._images[digest] = content
        while sum(map(len, self._images.values())) > IMAGE_CACHE and len(self._images) > 1:
            self._images.popitem(last=False)
        return content
