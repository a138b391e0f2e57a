"""How warm the chip is: the Zynq's own sensor, through the kernel's xadc driver. None where there is no such sensor."""

from __future__ import annotations

from pathlib import Path

SENSORS = Path("/sys/bus/iio/devices")


class Thermometer:
    """Finds the sensor once; `read` is one conversion, which takes microseconds."""

    def __init__(self, sensors: Path = SENSORS) -> None:
        self._sensor = next(
            (each for each in sorted(sensors.glob("iio:device*")) if _text(each / "name") == "xadc"), None
        )

    def read(self) -> float | None:
        """Degrees Celsius; None without a sensor, or when it does not answer as it should."""
        if self._sensor is None:
            return None
        raw, offset, scale = (_number(self._sensor / f"in_temp0_{part}") for part in ("raw", "offset", "scale"))
        if raw is None or offset is None or scale is None:
            return None
        found = (raw + offset) * scale / 1000.0
        return round(found, 1) if -100.0 <= found <= 200.0 else None


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


def _number(file: Path) -> float | None:
    try:
        return float(_text(file))
    except ValueError:
        return None
