"""The catalogue: a version is published as a whole, signed, and never changed."""

from __future__ import annotations

import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgpack
import pytest
from convoy_bitstreams import catalogue as shipped_images
from convoy_controller.database import publications, queries
from convoy_controller.database.engine import Database, open_database
from convoy_controller.database.models import ArtifactRow
from convoy_controller.database.records import ArtifactKind, SavedModel
from convoy_controller.errors import CatalogueError, KeyFileError, NotFoundError
from convoy_controller.home import Home
from convoy_controller.keys import signing_key
from convoy_schema import codec
from convoy_schema.bundle import Bundle, InputSpec, load_private_key, load_public_key, public_pem, verify
from convoy_schema.errors import IntegrityError, SignatureError, TopicError, TopologyError
from convoy_schema.names import digest_of
from convoy_schema.topology import Kind
from convoy_schema.trust import Trust
from database_samples import open_catalogue, publish, tiny_import
from patience import PATIENCE_S
from sqlalchemy import select


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_database(f"sqlite:///{tmp_path / 'convoy.db'}")
    yield opened
    opened.close()


def known_artifacts(database: Database) -> set[str]:
    with database.read() as db:
        return set(db.scalars(select(ArtifactRow.digest)))


def test_a_published_version_verifies_with_the_trusted_key(database: Database, tmp_path: Path):
    announcement = publish(database, tmp_path)
    model = verify(announcement, Trust(load_public_key(tmp_path / "keys" / "trusted.pem")))
    assert (model.bundle.model, model.bundle.version, model.bundle.serial) == ("tiny", "1", 1)
    assert model.topology == tiny_import().topology
    assert model.bundle.class_names == ("no", "yes")
    saved = publications.find_model(database, "tiny", "1")
    assert saved.announcement == announcement
    assert saved.digest == announcement.digest
    signing_key(tmp_path / "other")
    with pytest.raises(SignatureError):
        verify(announcement, Trust(load_public_key(tmp_path / "other" / "trusted.pem")))


def test_everything_a_board_may_need_is_stored_and_known(database: Database, tmp_path: Path):
    announcement = publish(database, tmp_path)
    catalogue = open_catalogue(database, tmp_path)
    saved = publications.find_model(database, "tiny")
    manifests = catalogue.manifests(saved)
    needed = codec.unpack(Bundle, announcement.bundle).artifacts(tiny_import().topology)
    assert {manifest.digest for manifest in manifests} == needed == known_artifacts(database)
    for manifest in manifests:
        for block in range(manifest.blocks):
            assert manifest.accepts(block, catalogue.read_block(manifest.digest, block))


def test_images_of_every_kind_that_is_needed_and_no_other(database: Database, tmp_path: Path):
    bundle = codec.unpack(Bundle, publish(database, tmp_path).bundle)
    shipped = shipped_images()
    assert bundle.shells == shipped.shells
    assert {module.kind for module in bundle.modules} == {Kind.IDENTITY}
    partitions = {module.partition for module in shipped.modules}
    assert {module.partition for module in bundle.modules} == partitions


def test_publishing_the_same_again_changes_nothing(database: Database, tmp_path: Path):
    assert publish(database, tmp_path) == publish(database, tmp_path)
    assert len(queries.models(database)) == 1


def test_publishing_again_what_was_signed_before_endings_were_known_changes_nothing(database: Database, tmp_path: Path):
    elsewhere = open_database(f"sqlite:///{tmp_path / 'elsewhere.db'}")
    first = publish(elsewhere, tmp_path)
    elsewhere.close()
    fields = msgpack.unpackb(first.bundle)
    del fields["ending"]
    bundle = msgpack.packb(fields)
    old = replace(first, bundle=bundle, signature=signing_key(tmp_path / "keys").private.sign(bundle))
    publications.save_model(database, SavedModel("tiny", "1", 1, old.digest, old), [])
    assert publish(database, tmp_path) == old
    assert publications.find_model(database, "tiny", "1").digest == old.digest


def test_a_version_is_never_changed(database: Database, tmp_path: Path):
    first = publish(database, tmp_path)
    with pytest.raises(CatalogueError, match="choose another --version"):
        publish(database, tmp_path, seed=1)
    assert publications.find_model(database, "tiny", "1").announcement == first


def test_serials_grow(database: Database, tmp_path: Path):
    serials = [
        codec.unpack(Bundle, publish(database, tmp_path, version=version, seed=seed).bundle).serial
        for seed, version in enumerate(("1", "0", "2"))
    ]
    assert serials == [1, 2, 3]
    other = codec.unpack(Bundle, publish(database, tmp_path, name="other").bundle)
    assert other.serial == 1
    assert publications.find_model(database, "tiny").version == "2"


def test_a_lost_blob_is_mended_by_publishing_again(database: Database, tmp_path: Path):
    publish(database, tmp_path)
    catalogue = open_catalogue(database, tmp_path)
    saved = publications.find_model(database, "tiny")
    (parameters,) = tiny_import().parameters
    (tmp_path / "blobs" / parameters[:2] / parameters).unlink()
    with pytest.raises(NotFoundError):
        catalogue.manifests(saved)
    publish(database, tmp_path)
    assert catalogue.manifests(saved)


def test_what_does_not_fit_together_is_refused(database: Database, tmp_path: Path):
    good = tiny_import()
    key, spec, catalogue = signing_key(tmp_path / "keys"), InputSpec("in", "N"), open_catalogue(database, tmp_path)
    (digest,) = good.parameters
    no_input = replace(good.topology, input="elsewhere")
    wrong = [
        (replace(good, parameters={}), CatalogueError, "did not come along"),
        (replace(good, parameters={digest: b"other"}), IntegrityError, "should have digest"),
        (replace(good, golden={**good.golden, "out": b"12"}), CatalogueError, "must take 8 bytes for 2 rows, 2 came"),
        (replace(good, golden={"in": good.golden["in"]}), CatalogueError, "none came"),
        (replace(good, topology=no_input), TopologyError, "before it is made"),
    ]
    for contents, error, words in wrong:
        with pytest.raises(error, match=words):
            catalogue.publish_model(contents, "tiny", "1", spec, (), shipped_images(), key)
    with pytest.raises(TopicError, match="version 'v 1'"):
        catalogue.publish_model(good, "tiny", "v 1", spec, (), shipped_images(), key)
    with pytest.raises(CatalogueError, match="holds no shell"):
        catalogue.publish_model(good, "tiny", "1", spec, (), replace(shipped_images(), shells=()), key)
    assert queries.models(database) == ()


def test_progress_is_told(database: Database, tmp_path: Path):
    told: list[tuple[int, int]] = []
    open_catalogue(database, tmp_path).publish_model(
        tiny_import(),
        "tiny",
        "1",
        InputSpec("in", "N"),
        (),
        shipped_images(),
        signing_key(tmp_path / "keys"),
        lambda done, total: told.append((done, total)),
    )
    total = told[0][1]
    assert told == [(done, total) for done in range(total + 1)]


def test_an_artifact_is_in_the_store_before_it_is_known(database: Database, tmp_path: Path):
    """Killed after the content is safe and before the database hears of it: nothing refers to what is not there."""
    script = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from convoy_controller.blobs import BlobStore\n"
        "from convoy_controller.catalogue import Catalogue\n"
        "from convoy_controller.database import publications\n"
        "from convoy_controller.database.engine import open_database\n"
        "from convoy_controller.database.records import ArtifactKind\n"
        "publications.save_artifacts = lambda *_: os.kill(os.getpid(), 9)\n"
        "home = Path(sys.argv[1])\n"
        "catalogue = Catalogue(open_database(f'sqlite:///{home / \"convoy.db\"}'), BlobStore(home / 'blobs'))\n"
        "catalogue.add_artifact(b'content', ArtifactKind.GOLDEN)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], timeout=2 * PATIENCE_S, check=False)
    assert done.returncode == -9
    catalogue = open_catalogue(database, tmp_path)
    digest = digest_of(b"content")
    assert known_artifacts(database) == set()
    assert catalogue.manifest(digest).digest == digest
    manifest = catalogue.add_artifact(b"content", ArtifactKind.GOLDEN)
    assert catalogue.add_artifact(b"content", ArtifactKind.GOLDEN) == manifest
    assert known_artifacts(database) == {digest}


# Keys and home -------------------------------------------------------------------------------------------------------


def test_the_key_is_made_once_and_kept_private(tmp_path: Path):
    key, root = signing_key(tmp_path / "keys"), load_private_key(tmp_path / "keys" / "root.pem")
    for name in ("root.pem", "signing.pem"):
        assert stat.S_IMODE((tmp_path / "keys" / name).stat().st_mode) == 0o600
    assert (tmp_path / "keys" / "trusted.pem").read_bytes() == public_pem(root)
    assert public_pem(signing_key(tmp_path / "keys").private) == public_pem(key.private) != public_pem(root)
    (tmp_path / "keys" / "trusted.pem").unlink()
    assert signing_key(tmp_path / "keys").delegation == key.delegation
    assert (tmp_path / "keys" / "trusted.pem").read_bytes() == public_pem(root)
    expected = {"root.pem", "signing.pem", "trust", "trusted.pem"}
    assert {path.name for path in (tmp_path / "keys").iterdir()} == expected


def test_processes_that_need_the_key_at_once_get_the_same_one(tmp_path: Path):
    script = (
        "import sys; from pathlib import Path; from convoy_controller.keys import signing_key; "
        "from convoy_controller.keys import signing_file; "
        "sys.stdout.write(signing_file(signing_key(Path(sys.argv[1]))).decode())"
    )
    makers = [
        subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "keys")], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    keys = {maker.communicate(timeout=2 * PATIENCE_S)[0] for maker in makers}
    assert [maker.returncode for maker in makers] == [0, 0, 0]
    assert len(keys) == 1
    assert (tmp_path / "keys" / "signing.pem").read_text() == keys.pop()


def test_a_key_that_cannot_be_read_is_never_replaced(tmp_path: Path):
    path = tmp_path / "signing.pem"
    path.write_text("no key at all")
    with pytest.raises(KeyFileError, match="restore them from backup"):
        signing_key(tmp_path)
    assert path.read_text() == "no key at all"


def test_where_everything_lives(tmp_path: Path):
    environment = {"CONVOY_HOME": "/srv/convoy"}
    assert Home.locate(environment=environment) == Home(Path("/srv/convoy"), "sqlite:////srv/convoy/convoy.db")
    home = Home.locate(tmp_path, environment={**environment, "CONVOY_DATABASE": "postgresql://host/convoy"})
    assert (home.blobs, home.trusted_key) == (tmp_path / "blobs", tmp_path / "keys" / "trusted.pem")
    assert home.database_url == "postgresql://host/convoy"
    assert Home.locate(tmp_path, "sqlite:////x.db", environment).database_url == "sqlite:////x.db"
    assert Home.locate(environment={}).root == Path("~/.local/share/convoy").expanduser()
