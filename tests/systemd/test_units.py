"""systemd's own judgement of the units."""

from __future__ import annotations

from pathlib import Path

import pytest
from machine import Machine

ROOT = Path(__file__).resolve().parents[2]
DEVICE, CONTROLLER = ROOT / "device" / "systemd", ROOT / "controller" / "systemd"
#: What lies where, in an image of nothing but units.
UNITS = [DEVICE / "convoy-device.service", DEVICE / "convoy-device-upgrade.service", *CONTROLLER.glob("*.service")]
COMMANDS = (
    "/opt/convoy/current/bin/convoy-device",
    "/opt/convoy/previous/bin/convoy-device",
    "/opt/convoy-controller/bin/convoy",
)


@pytest.fixture
def folder(bare: Machine) -> Path:
    """A folder inside with every unit, and programs where they look for them."""
    for command in COMMANDS:
        bare.run("sh", "-c", f"mkdir -p /tmp/units/$(dirname {command}) && ln -sf /bin/true /tmp/units{command}")
    for unit in UNITS:
        text = unit.read_text()
        for command in COMMANDS:
            text = text.replace(command, f"/tmp/units{command}")
        bare.write(f"/tmp/units/{unit.name}", text)
    return Path("/tmp/units")


def with_drop_in(machine: Machine, folder: Path, name: str) -> None:
    machine.write(f"{folder}/convoy-device.service.d/10-fabric.conf", (DEVICE / f"{name}.conf").read_text())


@pytest.mark.parametrize("drop_in", ["emulated", "board"])
def test_every_unit_is_clean(bare: Machine, folder: Path, drop_in: str) -> None:
    with_drop_in(bare, folder, drop_in)
    done = bare.call("systemd-analyze", "verify", "--man=no", *(f"{folder}/{unit.name}" for unit in UNITS))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("unit", "drop_in", "most"),
    [
        ("convoy-device", "emulated", 3.0),
        ("convoy-device", "board", 6.0),
        ("convoy-controller", "emulated", 3.0),
        ("convoy-gateway", "emulated", 3.0),
        ("convoy-api", "emulated", 3.0),
    ],
)
def test_exposure_is_below_its_bound(bare: Machine, folder: Path, unit: str, drop_in: str, most: float) -> None:
    with_drop_in(bare, folder, drop_in)
    threshold = f"--threshold={int(most * 10)}"
    done = bare.call("systemd-analyze", "security", "--offline=true", threshold, f"{folder}/{unit}.service")
    assert done.returncode == 0, done.stdout
    bound = bare.call("systemd-analyze", "security", "--offline=true", "--threshold=1", f"{folder}/{unit}.service")
    assert bound.returncode != 0, "a bound that nothing exceeds bounds nothing"
