"""Targets of files that people write or bring: TOML, archives of arrays, images, handoffs, ONNX; and of URLs."""

from __future__ import annotations

import gzip
import io
import tempfile
import warnings
import zipfile
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import convoy
import convoy_bitstreams
import numpy as np
from convoy.errors import InvalidInputError
from convoy_controller import datasets
from convoy_controller.cli.calibration import read_samples
from convoy_controller.composing import Network, weights
from convoy_controller.database.engine import connect
from convoy_controller.errors import (
    CompositionError,
    DatabaseUnreachableError,
    DatasetError,
    HandoffError,
    ProfileError,
)
from convoy_controller.handoff import parse_handoff
from convoy_controller.planning.profiles import boards_of
from convoy_device import config
from convoy_device.errors import ConfigError
from convoy_schema import floorplan
from convoy_schema.bundle import Method
from convoy_schema.errors import BitstreamError, FloorplanError, LinkError
from convoy_schema.link import parse_url
from mutation import mutate_toml, with_tokens
from target import target

ROOT = Path(__file__).resolve().parents[2]
#: Where inputs lie that a decoder wants as files.
_FOLDER = tempfile.TemporaryDirectory(prefix="convoy-fuzz-")


def on_disk(name: str, data: bytes) -> Path:
    """A file with that content."""
    path = Path(_FOLDER.name, name)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return path


def toml_bombs() -> Iterator[bytes]:
    """TOML that is small and takes long, or deep."""
    yield b"a = " + b"[" * 2000
    yield b"a = " + b"{a = " * 1000
    yield b"a = " + b"9" * 5000
    yield b"a." * 2000 + b"a = 1"
    yield b"[" + b"a." * 2000 + b"a]"
    yield b"a = 0x" + b"f" * 5000
    yield b"a = 2000-99-99"
    yield b"a = 1e999\nb = nan\nc = 0xffffffffffffffffffff"
    yield b"\xff\xfe"


# TOML ----------------------------------------------------------------------------------------------------------------


def _configs() -> Iterator[bytes]:
    yield (ROOT / "device" / "board.example.toml").read_bytes()
    yield (
        b'name = "a"\nsite = "b"\nbroker = "mqtt://h"\nstate_dir = "s"\ntrusted_key = "k"\npartitions = 2\npace = 1.0\n'
        b"link_bytes_per_s = 1e6\nlink_frame_s = 1e-4\n[labels]\nrack = 'left'\n"
    )
    yield b'state_dir = "\\u0000"\ntrusted_key = "\\ud7ff"\n'
    yield from toml_bombs()


@target("device-config", ConfigError, seeds=_configs, mutate=mutate_toml)
def device_config(data: bytes) -> object:
    """A board's configuration, and the fleet that one process makes of it."""
    return config.fleet(config.load(on_disk("board.toml", data)), 2)


def _profiles() -> Iterator[bytes]:
    shipped = resources.files("convoy_controller.planning") / "profiles.toml"
    yield shipped.read_bytes()
    yield b'[[boards]]\nprofile = "pynq-z2"\ncount = 4\n[[boards]]\nprofile = "pynq-z2"\nname = "b"\nclock_hz = 1e6\n'
    yield b'[[profiles]]\nname = "p"\nclock_hz = 1\nmemory_bytes = 1\n[[boards]]\nprofile = "p"\npartitions = 3\n'
    yield from toml_bombs()


@target("boards-profiles", ProfileError, seeds=_profiles, mutate=mutate_toml)
def boards_profiles(data: bytes) -> object:
    """Boards to plan for, up to what the planner takes them for."""
    found = boards_of(on_disk("boards.toml", data))
    return [profile.model(method, processor=True) for profile, _ in found for method in Method]


def _networks() -> Iterator[bytes]:
    whole = Network("tiny", input=(1, 28, 28)).conv2d(8, 3, name="c").relu().max_pool(2).average_pool(2)
    yield whole.depthwise(3, padding="same").clip(-1, 6).dense(10).to_toml().encode()
    branches = Network("b", input=(2, 8, 8)).conv2d(2, 3, padding=1, name="a").add("a", "input").concat("a", "add1")
    yield branches.global_average_pool().flatten().to_toml().encode()
    yield from toml_bombs()


@target("composed-network", CompositionError, seeds=_networks, mutate=mutate_toml, most_said=200_000)
def composed_network(data: bytes) -> object:
    """A network in TOML; what is taken is written to TOML that means the same."""
    network = Network.from_toml(data.decode("utf-8", "replace"))
    assert Network.from_toml(network.to_toml()) == network
    return network.parameter_shapes()


def _floorplans() -> Iterator[bytes]:
    for name in ("fixed", "layers", "partitions"):
        yield (resources.files("convoy_bitstreams") / "floorplans" / f"{name}.toml").read_bytes()
    for place in (b'"X0Y0", columns = [[0, 999999999]]', b'"X1Y0", columns = [[34, 99999999]]'):
        yield b'part = "xc7z020"\n[[partitions]]\nname = "p"\nareas = [{clock_region = ' + place + b"}]\n"
    yield from toml_bombs()


@target("floorplan", FloorplanError, seeds=_floorplans, mutate=mutate_toml)
def floorplans(data: bytes) -> object:
    """A shell's floorplan, and any design's."""
    text = data.decode("utf-8", "replace")
    floorplan.parse_regions(text)
    plan = floorplan.parse(text)
    return plan.static


def _catalogue() -> Iterator[bytes]:
    images = resources.files("convoy_bitstreams") / "images" / "emulated-xc7z020"
    yield (images / "layers.toml").read_bytes()
    yield (images / "partitions" / "west" / "conv2d.toml").read_bytes()
    yield from toml_bombs()


@target("image-manifest", BitstreamError, seeds=_catalogue, mutate=mutate_toml)
def image_manifest(data: bytes) -> object:
    """A manifest in a folder of images."""
    return convoy_bitstreams.open_catalogue(on_disk("images/one.toml", data).parent)


# Arrays and images ---------------------------------------------------------------------------------------------------


def _npz(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)  # type: ignore[arg-type]
    return file.getvalue()


def _zipped(name: str, content: bytes, method: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.writestr(name, content)
    return file.getvalue()


def _archives() -> Iterator[bytes]:
    yield _npz(images=np.zeros((2, 1, 4, 4), np.uint8))
    yield _npz(x=np.zeros((2, 4), np.float32), y=np.zeros(2, np.int64))
    file = io.BytesIO()
    np.save(file, np.zeros((2, 4), np.float32))
    yield file.getvalue()
    yield _zipped("x.npy", b"\x93NUMPY" + bytes(200))
    yield _zipped("x", b"no array")
    yield _zipped("x.npy", bytes(10_000_000), zipfile.ZIP_DEFLATED)
    yield b""
    yield b"\x80\x04."


def _calibrated(data: bytes) -> object:
    return read_samples(str(on_disk("samples.npz", data)), Path("model.onnx"), 1.0, 0.0, None)


#: What deflate can make of the longest input, read and as an array.
_UNPACKED = 2 * 1032 * 64 * 1024


@target("calibration-archive", DatasetError, seeds=_archives, most_bytes=64 * 1024, base_memory=_UNPACKED)
def calibration_archive(data: bytes) -> object:
    """An .npz file as it comes."""
    return _calibrated(data)


def _members() -> Iterator[bytes]:
    for array in (np.zeros((2, 4), np.float32), np.zeros((1, 3), ">u2"), np.zeros(2, "f4,i2"), np.array([["a"]])):
        file = io.BytesIO()
        np.save(file, array)
        yield file.getvalue()
    for shape in ("(99999999999, 4)", "(2, -4)", "(" * 300 + ")" * 300, "(True, 4)", "(2.5, 4)", "4"):
        head = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(700).encode() + b"\n"
        yield b"\x93NUMPY\1\0" + len(head).to_bytes(2, "little") + head + bytes(32)
    yield b"\x93NUMPY\2\0" + (2**31).to_bytes(4, "little") + bytes(50)
    yield b"\x93NUMPY\3\0" + (0xFFFF).to_bytes(4, "little") + b"\xff" * 50


_headers = with_tokens(
    *(b"(", b")", b"'", b"<f4", b"|O", b">U9999999", b"{", b"**", b"-1", b"True", b"9", b"99999999999, ")
)


@target("calibration-array", DatasetError, seeds=_members, mutate=_headers)
def calibration_array(data: bytes) -> object:
    """An array inside an archive whose checksums are right."""
    return _calibrated(_zipped("x.npy", data))


@target(
    "network-weights",
    DatasetError,
    CompositionError,
    seeds=_archives,
    most_bytes=64 * 1024,
    base_memory=_UNPACKED,
)
def network_weights(data: bytes) -> object:
    """A composed network's parameters."""
    held = weights.load(on_disk("weights.npz", data))
    return weights.checked("net", {"x": (2, 4)}, held)


def _idx() -> Iterator[bytes]:
    for dimensions in (1, 3):
        yield bytes((0, 0, 8, dimensions)) + (2).to_bytes(4, "big") * dimensions + bytes(2**dimensions)
    yield bytes((0, 0, 8, 3)) + b"\xff" * 12


# A packed file is read at once, up to what MNIST may have.
@target("idx", DatasetError, seeds=_idx, base_memory=80 * 1024 * 1024)
def idx(data: bytes) -> object:
    """MNIST's format, bare and as a packed file that is none of the well-known ones."""
    on_disk("t10k-images-idx3-ubyte.gz", data)
    try:
        datasets.mnist(Path(_FOLDER.name))
    except DatasetError:
        return datasets.read_idx(data, 3 if data[3:4] == b"\3" else 1)
    raise AssertionError("this is not MNIST")


def _pictures() -> Iterator[bytes]:
    from PIL import Image

    for form in ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM"):
        file = io.BytesIO()
        Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3)).save(file, form)
        yield file.getvalue()
    yield b"P5 9999999 9999999 255\n"
    yield b"P6 7000 9000 255\n"
    yield gzip.compress(b"P6")


@target("picture", DatasetError, seeds=_pictures, most_cpu_s=10, share=0.5)
def picture(data: bytes) -> object:
    """An image file of any of the formats that are read."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, of files that it reads for all that
        return datasets.read_image(on_disk("picture.png", data), (1, 8, 8))


# Others --------------------------------------------------------------------------------------------------------------


def _handoffs() -> Iterator[bytes]:
    body = (
        '<EDKSYSTEM><SYSTEMINFO NAME="d" DEVICE="7z020" PACKAGE="clg400"/><MODULES>'
        '<MODULE BDTYPE="BLOCK_CONTAINER" INSTANCE="west"/></MODULES></EDKSYSTEM>'
    )
    yield body.encode()
    for encoding in ("utf-16", "latin-1", "utf-7", "shift_jis", "nonsense", "utf-32", "idna"):
        head = f'<?xml version="1.0" encoding="{encoding}"?>'
        yield (head + body).encode("utf-16" if encoding == "utf-16" else "ascii")
    bomb = '<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa">' + "".join(
        f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 10}">' for n in range(8)
    )
    yield (bomb + "]><EDKSYSTEM>&i;</EDKSYSTEM>").encode()
    yield ('<?xml version="1.0" encoding="utf-16"?>' + bomb + "]><EDKSYSTEM>&i;</EDKSYSTEM>").encode("utf-16")
    yield b"<a>" * 5000


_xml = with_tokens(b"<", b">", b"</", b"&", b";", b"<!DOCTYPE ", b"<!ENTITY ", b"encoding=", b"\0", b"<MODULE ", b"<a>")


@target("handoff", HandoffError, seeds=_handoffs, mutate=_xml)
def handoff(data: bytes) -> object:
    """Vivado's XML."""
    return parse_handoff(data).part


def _urls() -> Iterator[bytes]:
    for url in (
        *("sqlite:////tmp/none.db", "postgresql://user:secret@host:5432/convoy?sslmode=require", "postgres://h/d"),
        *("sqlite://", "mysql://h/d", "", "sqlite", "postgresql://[::1]/d", "postgresql://h:99999999/d?a=b&a=c"),
        *(
            "sqlite:////tmp/none.db?mode=ro&timeout=x",
            "sqlite:////tmp/none.db?check_same_thread=x",
            "postgresql://h:x/d",
        ),
        *("postgresql://h/d?connect_timeout=x&host=a&host=b", "sqlite:///x?uri=true&nonsense=1"),
    ):
        yield url.encode()


_url_parts = with_tokens(
    *(b":", b"/", b"//", b"@", b"?", b"&", b"=", b"#", b"[", b"]", b"%", b"%00", b"\0", b"."),
    *(b"\xc2\xad", b"\xe2\x84\x80"),
    *(b"sqlite://", b"postgresql://", b"mqtt://", b"http://", b"65536", b"a" * 70, b"xn--", b"&timeout="),
)


@target("database-url", DatabaseUnreachableError, seeds=_urls, mutate=_url_parts)
def database_url(data: bytes) -> object:
    """Up to the engine, which opens nothing."""
    connect(data.decode("utf-8", "replace")).dispose()
    return None


def _addresses() -> Iterator[bytes]:
    for url in (
        *("mqtt://127.0.0.1:1883", "mqtt://[::1]:1", "mqtt://h", "mqtt://h:0", "mqtt://h:65536", "mqtt://h:-1"),
        *("http://127.0.0.1:8080", "https://h/prefix/", "http://[::1", "http://h:x", "mqtt://[x]:1", "mqtt://a..b"),
        *("http://[v1.x]", "mqtt://\u2100", "mqtt://" + "a" * 300, "mqtt://h:\u00b2", "http://a\u00adb:1"),
    ):
        yield url.encode()


@target("address", LinkError, InvalidInputError, seeds=_addresses, mutate=_url_parts)
def address(data: bytes) -> object:
    """A broker's and a gateway's."""
    url = data.decode("utf-8", "replace")
    try:
        return parse_url(url)
    except LinkError:
        return convoy.connect(url)
