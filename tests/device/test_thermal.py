from pathlib import Path

import pytest
from convoy_device.thermal import Thermometer


def sensor(folder: Path, name: str = "xadc", **values: str) -> Path:
    """A sensor as the kernel's xadc driver shows it; the values are those of a PYNQ-Z2 at rest."""
    place = folder / "iio:device0"
    place.mkdir(parents=True, exist_ok=True)
    (place / "name").write_text(f"{name}\n")
    for part, text in ({"raw": "2590", "offset": "-2219", "scale": "123.040771484"} | values).items():
        (place / f"in_temp0_{part}").write_text(f"{text}\n")
    return folder


def test_the_chips_sensor_is_read(tmp_path: Path) -> None:
    assert Thermometer(sensor(tmp_path)).read() == 45.6


def test_without_a_sensor_nothing_is_said(tmp_path: Path) -> None:
    assert Thermometer(tmp_path / "none").read() is None
    assert Thermometer(sensor(tmp_path, name="ads1015")).read() is None


@pytest.mark.parametrize("raw", ["", "warm", "nan", "99999999", "-99999999"])
def test_nonsense_is_no_temperature(tmp_path: Path, raw: str) -> None:
    assert Thermometer(sensor(tmp_path, raw=raw)).read() is None


def test_a_sensor_that_goes_is_none(tmp_path: Path) -> None:
    thermometer = Thermometer(sensor(tmp_path))
    (tmp_path / "iio:device0" / "in_temp0_raw").unlink()
    assert thermometer.read() is None
