from pathlib import Path

import pytest
from convoy_device.environment import Environments
from convoy_device.errors import InstallError


def made(root: Path, version: str, *, whole: bool = True) -> None:
    """What `make` leaves, without Python inside."""
    folder = root / "opt/convoy" / version
    folder.mkdir(parents=True)
    (folder / "pyvenv.cfg").touch()
    if whole:
        (folder / ".whole").touch()


def test_links_lead_to_whole_versions_only(tmp_path: Path) -> None:
    environments = Environments(tmp_path)
    assert environments.whole() == []
    assert environments.named("current") == ""
    made(tmp_path, "0.1.0")
    made(tmp_path, "0.2.0", whole=False)
    assert environments.whole() == ["0.1.0"]
    environments.point("current", "0.1.0")
    assert environments.named("current") == "0.1.0"
    with pytest.raises(InstallError, match="not a whole environment"):
        environments.point("current", "0.2.0")
    assert environments.named("current") == "0.1.0"
    # Relative, so that an image's link leads to the right place in the image and out of it.
    assert (tmp_path / "opt/convoy/current").readlink() == Path("0.1.0")


def test_what_is_not_wanted_any_more_goes(tmp_path: Path) -> None:
    for version in ("0.1.0", "0.2.0", "0.3.0"):
        made(tmp_path, version)
    environments = Environments(tmp_path)
    environments.point("current", "0.3.0")
    environments.keep_only(["0.2.0", "0.3.0"])
    assert environments.whole() == ["0.2.0", "0.3.0"]
    assert environments.named("current") == "0.3.0"


def test_a_root_without_python_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    environments = Environments(tmp_path)
    with pytest.raises(InstallError, match="no environment could be made"):
        environments.make("0.1.0", tmp_path)
    assert list(environments.home.iterdir()) == []


def test_a_version_that_is_there_is_not_made_again(tmp_path: Path) -> None:
    made(tmp_path, "0.1.0")
    Environments(tmp_path).make("0.1.0", None)


def test_an_image_of_a_pynq_board_is_known_by_its_environment(tmp_path: Path) -> None:
    assert not Environments(tmp_path).is_pynq
    python = tmp_path / "usr/local/share/pynq-venv/bin/python3"
    python.parent.mkdir(parents=True)
    python.touch()
    assert Environments(tmp_path).is_pynq
