"""The networks of a trial: no two alike, and their faults such that only what is asked about tells."""

from __future__ import annotations

from dataclasses import replace

import pytest
from convoy_bitstreams import catalogue
from convoy_controller.conformance.played_board import capability_of
from convoy_controller.conformance.trial_models import Footing, altered, footing, mixed, restated, small, wide
from convoy_controller.errors import NotFoundError
from convoy_schema.artifacts import WINDOW
from convoy_schema.bundle import Method, verify
from convoy_schema.errors import MixedBundleError, SignatureError
from convoy_schema.layers import unpack_parameters
from convoy_schema.messages.boards import Partition
from convoy_schema.signing import SigningKey
from convoy_schema.trust import Trust
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SIGNER = SigningKey(Ed25519PrivateKey.from_private_bytes(b"t" * 32))
TRUST = Trust(SIGNER.private.public_key())
WAY = Footing(Method.ALLOCATE)


def test_two_trials_share_no_artifact_so_that_nothing_kept_counts_as_fetched() -> None:
    first, second = (small(name, SIGNER, WAY) for name in ("trial-1", "trial-2"))
    parameters = [{layer.parameters for layer in model.topology.layers} - {None} for model in (first, second)]
    assert not parameters[0] & parameters[1]
    large = wide("trial-1", SIGNER, WAY)
    assert large.packed()[large.topology.layers[0].parameters or ""][0].blocks > WINDOW


def test_bad_bundles_are_bad_in_one_way_alone() -> None:
    model = small("trial-1", SIGNER, WAY)
    verify(model.announcement, TRUST)
    with pytest.raises(MixedBundleError):
        verify(mixed(model), TRUST)
    with pytest.raises(SignatureError):
        verify(altered(model, SIGNER), TRUST)
    digest = model.topology.layers[0].parameters
    assert digest is not None
    honest = model.blobs[digest]
    assert restated(honest) != honest
    assert (unpack_parameters(restated(honest)).weights == unpack_parameters(honest).weights).all()  # type: ignore[union-attr]


def test_the_way_onto_a_board_follows_its_capability() -> None:
    bare = capability_of(1)
    assert footing(bare, catalogue()).images == {}
    part = catalogue().shells[0].part
    layers = footing(replace(bare, part=part, shells=("fixed", "layers")), catalogue())
    assert (layers.method, len(layers.images), layers.slots) == (Method.ALLOCATE, 1, ())
    places = tuple(Partition(name) for name in ("west", "east"))
    library = footing(replace(bare, part=part, shells=("partitions",), partitions=places), catalogue())
    assert library.method is Method.LIBRARY
    assert [slot.partition for slot in library.slots] == ["west", "east"]
    assert {(image.partition, image.kind) for image in library.modules} >= {
        (s.partition, s.kind) for s in library.slots
    }
    with pytest.raises(NotFoundError, match="--images"):
        footing(replace(bare, part="unknown", shells=("layers",)), catalogue())
