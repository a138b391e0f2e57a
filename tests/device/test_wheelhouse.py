import subprocess
from pathlib import Path

import pytest
import wheelhouse

ROOT = Path(__file__).resolve().parents[2]


def names(machine: str, python: str) -> dict[str, str]:
    return {
        wheelhouse.name_of(wanted): source for wanted, source in wheelhouse.needs(wheelhouse.Target(machine, python))
    }


def test_a_board_gets_the_base_dependencies_and_nothing_else() -> None:
    assert names("armv7l", "3.10") == {
        "numpy": wheelhouse.IMAGE,
        "paho-mqtt": "",
        "msgpack": wheelhouse.PURE,
        "cryptography": "",
        "tomli": "",
        "cffi": wheelhouse.IMAGE,
    }
    assert "tomli" not in names("armv7l", "3.11")
    assert set(names("x86_64", "3.13").values()) == {""}


def test_numpy_stays_below_2_where_images_were_built_against_1() -> None:
    for python, bound in (("3.10", True), ("3.11", True), ("3.13", False)):
        wanted = next(
            each for each, _ in wheelhouse.needs(wheelhouse.Target("aarch64", python)) if each.startswith("numpy")
        )
        assert wanted.endswith(",<2") is bound


def test_cryptography_fits_the_cffi_of_images_on_armv7l_alone() -> None:
    for machine, limited in (("armv7l", True), ("x86_64", False)):
        needed = wheelhouse.needs(wheelhouse.Target(machine, "3.10"))
        wanted = next(each for each, _ in needed if each.startswith("cryptography"))
        assert ("<46" in wanted) is limited


def test_platforms_are_those_of_the_image_s_glibc() -> None:
    platforms = wheelhouse.Target("armv7l", "3.10").platforms
    assert "manylinux_2_31_armv7l" in platforms
    assert "manylinux_2_39_armv7l" not in platforms


def test_a_marker_that_is_not_understood_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pyproject.toml").write_text("[project]\ndependencies = [\"x; sys_platform == 'linux'\"]\n")
    monkeypatch.setattr(wheelhouse, "ROOT", tmp_path)
    with pytest.raises(wheelhouse.WheelhouseError, match="sys_platform"):
        wheelhouse.base_requirements("3.10")


def test_the_installing_script_parses() -> None:
    script = ROOT / "device" / "wheelhouse" / "install.sh"
    assert subprocess.run(["sh", "-n", str(script)], check=False).returncode == 0
