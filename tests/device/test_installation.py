from pathlib import Path

import board_models as models
import pytest
from convoy_device import config as configs
from convoy_device.cli import main
from convoy_device.errors import ConfigError, InstallError
from convoy_device.installation import CONFIG, TRUSTED, Installation, require_root
from convoy_schema.bundle import public_pem

UNITS = "etc/systemd/system"


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "key.pem"
    path.write_bytes(public_pem(models.KEY))
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "root"
    path.mkdir()
    return path


def pynq(root: Path) -> None:
    python = root / "usr/local/share/pynq-venv/bin/python3"
    python.parent.mkdir(parents=True)
    python.touch()


def test_the_first_configuration_can_be_used(root: Path, key: Path) -> None:
    installation = Installation(root)
    written = installation.write_config({"name": "board-7", "broker": "mqtt://10.0.0.1:1883"}, key)
    assert written == ["/etc/convoy/board.toml", "/etc/convoy/trusted.pem"]
    config = configs.load(root / CONFIG)
    assert (config.name, config.broker, config.fabric) == ("board-7", "mqtt://10.0.0.1:1883", "emulated")
    assert config.state_dir == Path("/var/lib/convoy")
    assert installation.complaint() == ""
    assert (root / "etc/convoy").stat().st_mode & 0o777 == 0o750
    assert (root / CONFIG).stat().st_mode & 0o777 == 0o640


def test_a_board_without_a_name_is_called_as_its_machine(root: Path) -> None:
    Installation(root).write_config({}, None)
    assert configs.load(root / CONFIG).name


def test_a_pynq_board_runs_its_own_logic_as_root(root: Path) -> None:
    pynq(root)
    installation = Installation(root)
    installation.write_config({"name": "board-1"}, None)
    assert installation.fabric() == "pynq"
    installation.write_units()
    drop_in = (root / UNITS / "convoy-device.service.d/10-fabric.conf").read_text()
    assert "User=" not in drop_in
    assert "XILINX_XRT=/usr BOARD=Pynq-Z2" in drop_in


def test_what_is_there_stays(root: Path, key: Path) -> None:
    installation = Installation(root)
    installation.write_config({"name": "board-1"}, key)
    text = (root / CONFIG).read_text() + "# mine\n"
    (root / CONFIG).write_text(text)
    (root / TRUSTED).write_text("mine")
    assert installation.write_config({"name": "other"}, key) == []
    assert (root / CONFIG).read_text() == text
    assert (root / TRUSTED).read_text() == "mine"


def test_a_claim_is_not_used_up_for_a_configuration_that_would_not_use_what_it_gets(root: Path) -> None:
    installation = Installation(root)
    installation.check_enrollable("board-1")
    ours = {"certificate": "/var/lib/convoy/board-1.pem", "ca": "/var/lib/convoy/ca.pem"}
    installation.write_config({"name": "board-1", "broker": "mqtts://10.0.0.1:8883", **ours}, None)
    installation.check_enrollable("board-1")
    with pytest.raises(ConfigError, match=r"of board board-1 with certificate /var/lib/convoy/board-1\.pem; a claim"):
        installation.check_enrollable("board-2")


def test_a_configuration_without_certificates_is_not_one_to_enrol_for(root: Path) -> None:
    installation = Installation(root)
    installation.write_config({"name": "board-1"}, None)
    with pytest.raises(ConfigError, match=r"certificate none; a claim of board-1 makes /var/lib/convoy/board-1\.pem"):
        installation.check_enrollable("board-1")


def test_units_are_written_once_and_follow_the_configuration(root: Path) -> None:
    installation = Installation(root)
    installation.write_config({"name": "board-1", "fabric": "processor"}, None)
    assert installation.write_units()
    assert not installation.write_units()
    drop_in = root / UNITS / "convoy-device.service.d/10-fabric.conf"
    assert "User=convoy" in drop_in.read_text()
    (root / CONFIG).write_text((root / CONFIG).read_text().replace('"processor"', '"pynq"'))
    assert installation.write_units()
    assert "User=convoy" not in drop_in.read_text()
    names = {path.name for path in (root / UNITS).iterdir()}
    assert names == {"convoy-device.service", "convoy-device-upgrade.service", "convoy-device.service.d"}
    assert (root / "usr/local/bin/convoy-device").readlink() == Path("/opt/convoy/current/bin/convoy-device")


def test_waits_are_lengthened_where_systemd_can(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installation = Installation(root)
    installation.write_config({"name": "board-1"}, None)
    backoff = root / UNITS / "convoy-device.service.d/20-backoff.conf"
    for version, there in ((249, False), (252, False), (254, True)):
        monkeypatch.setattr(Installation, "systemd_version", lambda self, version=version: version)
        installation.write_units()
        assert backoff.exists() is there


def test_what_keeps_it_from_starting_is_said(root: Path) -> None:
    installation = Installation(root)
    installation.write_config({"name": "board-1"}, None)
    assert "trusted.pem is missing" in installation.complaint()
    (root / CONFIG).write_text("name = 7\n")
    assert "board.toml" in installation.complaint()
    with pytest.raises(ConfigError):
        installation.write_units()


def test_only_root_may() -> None:
    require_root(["convoy-device", "install"], 0)
    with pytest.raises(InstallError, match="must be root, it is user 1000"):
        require_root(["convoy-device", "install"], 1000)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["upgrade", "--root", "{root}", "0.2.0"], "--root must be /"),
        (["upgrade"], "wants a wheel's file or the number of a version"),
        (["install", "--root", "{root}/nowhere"], "--root must be a folder"),
        (["install", "--root", "{root}", "--from", "{root}/nowhere"], "--from must be a folder of wheels"),
    ],
)
def test_command_lines_that_cannot_be_used(
    arguments: list[str], said: str, root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert main([each.format(root=root) for each in arguments]) == 1
    assert said in capsys.readouterr().err
