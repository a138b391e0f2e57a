"""The daemon's configuration: one TOML file, checked whole before anything starts.

Paths are relative to the file. Errors name the file, the key, what was expected and what is there.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convoy_schema.bundle import load_public_key
from convoy_schema.errors import ConvoyError, TomlError, shown
from convoy_schema.link import parse_url
from convoy_schema.names import check_name
from convoy_schema.processors import ProcessorRate
from convoy_schema.toml import parse_toml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from convoy_device.errors import ConfigError
from convoy_device.fabric.opening import FABRICS
from convoy_device.fabric.rates import measured

if TYPE_CHECKING:
    from convoy_schema.credentials import Credentials

PROCESSORS = ("measured", "stated", "none")
LOG_LEVELS = ("debug", "info", "warning", "error")


@dataclass(frozen=True)
class Config:
    """What one daemon is. `pace`: how many times the cycle model's time emulated work takes; None: full speed.

    `partitions`: how many of the emulated part's partitions the board offers, from the first on; None: all of them.
    `link_bytes_per_s`: at what rate frames leave, each for `link_frame_s` seconds more; None: as fast as they go.
    `processor`: how fast the processor runs layers beside the fabric is "measured", "stated" by the three figures
    below it, or "none" says that it runs none; None: what `processor_rate` makes of it.
    `ca`, `certificate` (with its key, unless `key` is another file) and `server_name` belong to a broker at `mqtts://`;
    at `enrollment`, HOST:PORT, the certificate is renewed.
    """

    name: str
    site: str
    broker: str
    state_dir: Path
    trusted_key: Path
    fabric: str = "emulated"
    store_quota_mb: int = 256
    queue_frames: int = 64
    pace: float | None = None
    link_bytes_per_s: float | None = None
    link_frame_s: float = 0.0
    partitions: int | None = None
    processor: str | None = None
    processor_macs_per_s: float | None = None
    processor_bytes_per_s: float | None = None
    processor_call_s: float = 0.0
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    server_name: str = ""
    enrollment: str = ""
    log_level: str = "info"
    labels: Mapping[str, str] = field(default_factory=dict)


_KEYS = tuple(item.name for item in dataclasses.fields(Config))
_REQUIRED = ("name", "site", "broker", "state_dir", "trusted_key")
_PATHS = ("state_dir", "trusted_key", "ca", "certificate", "key")


def load(path: Path, overrides: Mapping[str, Any] | None = None) -> Config:
    """Read `path`, let `overrides` (by key, None for absent) win, and check everything; raises `ConfigError`."""
    try:
        table: dict[str, Any] = parse_toml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}", file=str(path)) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not TOML: {error}", file=str(path)) from error
    except TomlError as error:
        raise ConfigError(f"{path}: {error}", file=str(path)) from error
    for key in table:
        if key not in _KEYS:
            close = difflib.get_close_matches(key, _KEYS, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"the keys are {', '.join(_KEYS)}"
            raise ConfigError(f"{path}: key {shown(key)} is not known; {hint}", file=str(path), key=key)
    for key in _PATHS:
        if isinstance(table.get(key), str):
            table[key] = path.parent / table[key]
    table.update({key: value for key, value in (overrides or {}).items() if value is not None})
    for key in _PATHS:
        if isinstance(table.get(key), Path):
            # The pynq package has to be run from a folder of its own for a moment.
            table[key] = table[key].absolute()
    for key in _REQUIRED:
        if key not in table:
            raise ConfigError(f"{path}: key {key!r} is missing; see device/board.example.toml", file=str(path), key=key)
    return _checked(path, table)


def trusted_key(config: Config) -> Ed25519PublicKey:
    """The key that bundles must be signed with; raises `ConfigError`."""
    try:
        return load_public_key(config.trusted_key)
    except ConvoyError as error:
        raise ConfigError(f"board {config.name}: key 'trusted_key': {error}", key="trusted_key") from error


def processor_rate(config: Config) -> ProcessorRate | None:
    """How fast the board's processor runs layers that are left to it; None when none may be.

    What is stated counts. Where nothing is said a real board measures; an emulated one has no processor then, since
    the host's would be weighed against logic of another time.
    """
    stated = config.processor_macs_per_s, config.processor_bytes_per_s
    how = config.processor or ("stated" if None not in stated else "measured" if config.fabric == "pynq" else "none")
    if how == "measured":
        return measured()
    if how == "none" or stated[0] is None or stated[1] is None:
        return None
    return ProcessorRate(stated[0], stated[1], config.processor_call_s)


def credentials(config: Config) -> Credentials | None:
    """What the broker is shown; None for one that is not encrypted. Raises `ConfigError` for another's certificate."""
    if config.ca is None:
        return None
    from convoy_schema.credentials import Credentials, TimeFloor

    floor = TimeFloor(config.state_dir / "time-floor")
    found = Credentials(config.ca, config.certificate, config.key, config.server_name, floor)
    try:
        found.check_name(config.name)
    except ConvoyError as error:
        raise ConfigError(f"board {config.name}: key 'certificate': {error}", key="certificate") from error
    return found


def fleet(config: Config, count: int) -> tuple[Config, ...]:
    """`count` boards of one process: NAME-1, NAME-2, ... (board-1, ... of board), each with a directory of its own."""
    if count < 1:
        raise ConfigError(f"--count must be at least 1, {count} came", key="count")
    if count == 1:
        return (config,)
    if config.fabric == "pynq":
        raise ConfigError(f"--count must be 1 with fabric pynq, {count} came: a board has one chip", key="count")
    if config.certificate is not None:
        raise ConfigError(
            f"--count must be 1 with a certificate, {count} came: each board has one of its own", key="count"
        )
    names = [f"{config.name}-{number}" for number in range(1, count + 1)]
    for name in names:
        _name(name, "--count")
    return tuple(dataclasses.replace(config, name=name, state_dir=config.state_dir / name) for name in names)


def _checked(path: Path, table: Mapping[str, Any]) -> Config:
    def fail(key: str, expected: str) -> ConfigError:
        came = shown(table[key])
        return ConfigError(f"{path}: key {key!r} must be {expected}, {came} is there", file=str(path), key=key)

    for key, kind, expected in (
        ("name", str, "a string"),
        ("site", str, "a string"),
        ("broker", str, "a string"),
        ("state_dir", Path, "a path as a string"),
        ("trusted_key", Path, "a path as a string"),
        ("ca", Path, "a path as a string"),
        ("certificate", Path, "a path as a string"),
        ("key", Path, "a path as a string"),
        ("server_name", str, "a string"),
        ("enrollment", str, "HOST:PORT as a string"),
        ("fabric", str, f"one of {', '.join(FABRICS)}"),
        ("log_level", str, f"one of {', '.join(LOG_LEVELS)}"),
        ("labels", dict, "a table of strings"),
    ):
        if key in table and not isinstance(table[key], kind):
            raise fail(key, expected)
    for key in ("name", "site"):
        _name(table[key], f"{path}: key {key!r}")
    for key, allowed in (("fabric", FABRICS), ("log_level", LOG_LEVELS)):
        if table.get(key, allowed[0]) not in allowed:
            raise fail(key, f"one of {', '.join(allowed)}")
    for key, low, high in (("store_quota_mb", 1, 1_000_000), ("queue_frames", 1, 4096), ("partitions", 1, 64)):
        value = table.get(key, low)
        if type(value) is not int or not low <= value <= high:
            raise fail(key, f"a whole number from {low} to {high}")
    pace = table.get("pace", 1)
    if type(pace) not in (int, float) or not 0 < pace <= 10_000:
        raise fail("pace", "a number above 0, at most 10000")
    rate = table.get("link_bytes_per_s", 1)
    if type(rate) not in (int, float) or not 1 <= rate <= 1e12:
        raise fail("link_bytes_per_s", "a number of bytes a second from 1 to 1e12")
    hop = table.get("link_frame_s", 0)
    if type(hop) not in (int, float) or not 0 <= hop <= 60:
        raise fail("link_frame_s", "a number of seconds from 0 to 60")
    _check_processor(table, fail)
    labels = table.get("labels", {})
    if len(labels) > 32 or not all(isinstance(value, str) for value in labels.values()):
        raise fail("labels", "a table of at most 32 strings")
    try:
        parse_url(table["broker"])
        _check_encryption(table)
    except ConvoyError as error:
        raise ConfigError(f"{path}: key 'broker': {error}", file=str(path), key="broker") from error
    return Config(**table)


def _check_processor(table: Mapping[str, Any], fail: Callable[[str, str], ConfigError]) -> None:
    """Figures in their bounds, all that are needed, and none that would not count."""
    for key, low, high in (
        ("processor_macs_per_s", 1, 1e15),
        ("processor_bytes_per_s", 1, 1e15),
        ("processor_call_s", 0, 60),
    ):
        value = table.get(key, low)
        if type(value) not in (int, float) or not low <= value <= high:
            raise fail(key, f"a number from {low} to {high:g}")
    given = [key for key in ("processor_macs_per_s", "processor_bytes_per_s") if key in table]
    how = table.get("processor", "stated" if given else "none")
    if how not in PROCESSORS:
        raise fail("processor", f"one of {', '.join(PROCESSORS)}")
    if how == "stated" and len(given) < 2:
        key = given[0] if given else "processor"
        raise fail(key, "beside processor_macs_per_s and processor_bytes_per_s, both of them,")
    if how != "stated" and given:
        raise fail(given[0], 'absent unless processor is "stated"')


def _check_encryption(table: Mapping[str, Any]) -> None:
    """Raises `ConvoyError` that says what is missing, or not to be there, beside the broker's URL."""
    is_encrypted = table["broker"].startswith("mqtts:")
    for key in ("ca", "certificate"):
        if is_encrypted and key not in table:
            raise ConfigError(f"mqtts:// needs key {key!r}: `convoy-device enroll` writes it", key=key)
    for key in ("ca", "certificate", "key", "server_name", "enrollment"):
        if not is_encrypted and table.get(key):
            raise ConfigError(f"key {key!r} is only for a broker at mqtts://", key=key)
    if table.get("enrollment"):
        parse_url(f"mqtts://{table['enrollment']}")


def _name(text: str, where: str) -> None:
    try:
        check_name(text)
    except ConvoyError as error:
        raise ConfigError(f"{where}: {error}", where=where) from error
