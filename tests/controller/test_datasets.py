"""IDX files, the digits that come with scikit-learn, and folders of images; and the errors for what is none of them."""

import gzip
import hashlib
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from convoy_controller import datasets
from convoy_controller.errors import DatasetError
from mnist_data import mnist_folder
from PIL import Image

#: Of the held-out half, enlarged.
DIGITS_SHA256 = "20d5ba9d55976d0a95d5977efa3899534b31ecfe6409918a01482f4c12b4ceb4"


def idx(array: np.ndarray) -> bytes:  # type: ignore[type-arg]
    extents = b"".join(extent.to_bytes(4, "big") for extent in array.shape)
    return bytes((0, 0, 8, array.ndim)) + extents + array.astype(np.uint8).tobytes()


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four files of MNIST's form, with the checksums that go with them."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    random = np.random.default_rng(1)
    known = {}
    for stem, count in (("train", 6), ("t10k", 4)):
        for name, array in (
            (f"{stem}-images-idx3-ubyte", random.integers(0, 256, (count, 28, 28))),
            (f"{stem}-labels-idx1-ubyte", random.integers(0, 10, count)),
        ):
            content = idx(array)
            known[name] = hashlib.md5(content, usedforsecurity=False).hexdigest()
            if stem == "train":
                (folder / name).write_bytes(content)
            else:
                (folder / f"{name}.gz").write_bytes(gzip.compress(content))
    monkeypatch.setattr(datasets, "MNIST_FILES", known)
    return folder


def test_plain_and_packed_files_are_read(tiny: Path) -> None:
    assert datasets.find_mnist(tiny.parent / "none", tiny) == tiny
    train, test = datasets.mnist(tiny, train=True), datasets.mnist(tiny)
    assert train.images.shape == (6, 1, 28, 28)
    assert test.images.dtype == np.uint8
    assert len(test) == 4
    assert len(test.take(3)) == 3
    assert test.labels.dtype == np.int64


def test_another_file_of_the_same_name_is_refused(tiny: Path) -> None:
    path = tiny / "train-labels-idx1-ubyte"
    path.write_bytes(path.read_bytes()[:-1] + b"\x05\x05")
    with pytest.raises(DatasetError, match="MD5"):
        datasets.mnist(tiny, train=True)


def test_missing_and_damaged_files_are_refused(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="holds neither"):
        datasets.mnist(tmp_path / "nowhere")
    assert datasets.find_mnist(tmp_path / "nowhere") is None
    (tmp_path / "under").mkdir()
    (tmp_path / "under" / "mnist").symlink_to(tiny)
    assert datasets.find_mnist(tmp_path / "under") == tmp_path / "under" / "mnist"
    packed = tiny / "t10k-images-idx3-ubyte.gz"
    packed.write_bytes(packed.read_bytes()[:100])
    with pytest.raises(DatasetError, match="cannot be read"):
        datasets.mnist(tiny)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0\0\x08\x03",
        idx(np.zeros((2, 3, 3)))[:-1],
        idx(np.zeros((2, 3, 3))) + b"x",
        idx(np.zeros(4)),
        b"\0" * 64,
    ],
)
def test_what_is_no_idx_file_is_refused(content: bytes) -> None:
    with pytest.raises(DatasetError):
        datasets.read_idx(content, 3)


def test_an_idx_header_that_promises_too_much_allocates_nothing() -> None:
    with pytest.raises(DatasetError, match="bytes"):
        datasets.read_idx(bytes((0, 0, 8, 3)) + b"\3\xff\xff\xff" * 3, 3)
    for extents in (b"\xff" * 12, b"\xff" * 8 + bytes(4)):
        with pytest.raises(DatasetError, match="along each axis"):
            datasets.read_idx(bytes((0, 0, 8, 3)) + extents, 3)


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """An HTTP server on this machine, and the folder it serves."""
    folder = tmp_path / "mirror"
    folder.mkdir()

    class Quiet(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(folder))  # type: ignore[arg-type]

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/", folder
    server.shutdown()
    thread.join()
    server.server_close()


def test_download_fetches_what_is_missing_and_checks_it(tiny: Path, tmp_path: Path, mirror: tuple[str, Path]) -> None:
    url, served = mirror
    for name in datasets.MNIST_FILES:
        source = tiny / name
        content = source.read_bytes() if source.is_file() else gzip.decompress((tiny / f"{name}.gz").read_bytes())
        (served / f"{name}.gz").write_bytes(gzip.compress(content))
    datasets.download_mnist(tmp_path / "got", url)
    np.testing.assert_array_equal(datasets.mnist(tmp_path / "got").images, datasets.mnist(tiny).images)
    for path in served.iterdir():
        path.unlink()
    datasets.download_mnist(tmp_path / "got", url)  # nothing is missing, so nothing is asked for


def test_download_keeps_nothing_that_is_wrong(tiny: Path, tmp_path: Path, mirror: tuple[str, Path]) -> None:
    url, served = mirror
    for content, match in ((gzip.compress(b"other"), "something else"), (b"no gzip", "cannot be read")):
        (served / "train-images-idx3-ubyte.gz").write_bytes(content)
        with pytest.raises(DatasetError, match=match):
            datasets.download_mnist(tmp_path / "got", url)
        assert list((tmp_path / "got").iterdir()) == []
    (served / "train-images-idx3-ubyte.gz").unlink()
    with pytest.raises(DatasetError, match="by hand"):
        datasets.download_mnist(tmp_path / "got", url)


def test_the_well_known_files_are_known() -> None:
    test = datasets.mnist(mnist_folder())
    assert test.images.shape == (10_000, 1, 28, 28)
    assert test.labels[:5].tolist() == [7, 2, 1, 0, 4]


# scikit-learn's digits


def test_the_halves_of_the_digits_are_cut_in_the_order_they_ship() -> None:
    train, held_out = datasets.digits(train=True), datasets.digits()
    assert (len(train), len(held_out)) == (898, 899)
    assert train.images.shape[1:] == held_out.images.shape[1:] == (1, 28, 28)
    assert train.labels[:10].tolist() == list(range(10))
    seen = {image.tobytes() for image in train.images}
    assert sum(image.tobytes() in seen for image in held_out.images) == 0


def test_enlarged_digits_are_the_same_on_every_machine() -> None:
    images = datasets.digits().images
    assert images.dtype == np.uint8
    assert hashlib.sha256(images.tobytes()).hexdigest() == DIGITS_SHA256


def test_enlarged_digits_look_like_mnist() -> None:
    images = datasets.digits(train=True).images[:, 0].astype(float)
    assert images.min() == 0
    assert images.max() == 255
    mass = images.sum((1, 2))
    for axis in (1, 2):
        centre = (images.sum(3 - axis) * np.arange(28)).sum(1) / mass
        assert np.abs(centre - 13.5).max() <= 1.5
    assert 20 < images.mean() < 50  # MNIST: 33
    inked = (images > 0).any(0)
    assert not inked[0].all()


def test_a_blank_and_a_full_field_are_enlarged() -> None:
    assert not datasets.as_mnist(np.zeros((1, 8, 8), np.int64)).any()
    full = datasets.as_mnist(np.full((1, 8, 8), 16))
    assert (full > 0).sum() == 20 * 20
    assert (full[0, 5:23, 5:23] == 255).all()


# Folders


def paint(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (28, 28)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)


def test_a_folder_of_classes_is_labelled_in_the_order_of_the_names(tmp_path: Path) -> None:
    paint(tmp_path / "cat" / "b.png", (255, 0, 0))
    paint(tmp_path / "cat" / "a.png", (0, 255, 0))
    paint(tmp_path / "ant" / "c.jpg", (255, 255, 255), (40, 20))
    (tmp_path / "cat" / "notes.txt").write_text("not an image")
    found = datasets.folder(tmp_path, (3, 28, 28))
    assert found.labels.tolist() == [0, 1, 1]
    assert found.images.shape == (3, 3, 28, 28)
    assert found.images[1, :, 0, 0].tolist() == [0, 255, 0]
    assert datasets.folder(tmp_path, (3, 28, 28), ["cat", "dog", "ant"]).labels.tolist() == [2, 0, 0]


def test_bare_images_are_unlabelled_and_made_grey(tmp_path: Path) -> None:
    paint(tmp_path / "1.png", (10, 10, 10), (7, 9))
    found = datasets.folder(tmp_path, (1, 28, 28))
    assert found.labels.tolist() == [datasets.UNLABELLED]
    assert (found.images == 10).all()


def test_folders_without_images_unknown_classes_and_broken_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="0 images"):
        datasets.folder(tmp_path, (1, 28, 28))
    with pytest.raises(DatasetError, match="not a folder"):
        datasets.folder(tmp_path / "none", (1, 28, 28))
    paint(tmp_path / "x" / "1.png", (1, 2, 3))
    with pytest.raises(DatasetError, match="no classes"):
        datasets.folder(tmp_path, (1, 28, 28), ["a", "b"])
    (tmp_path / "x" / "2.png").write_bytes(b"not an image")
    with pytest.raises(DatasetError, match=r"2\.png"):
        datasets.folder(tmp_path, (1, 28, 28))
    with pytest.raises(DatasetError, match="the model takes"):
        datasets.read_image(tmp_path / "x" / "1.png", (10,))


def test_an_image_of_too_many_pixels_is_refused_before_it_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paint(tmp_path / "large.png", (1, 2, 3), (50, 50))
    monkeypatch.setattr(datasets, "MAX_PIXELS", 2400)
    with pytest.raises(DatasetError, match="pixels"):
        datasets.read_image(tmp_path / "large.png", (1, 28, 28))
