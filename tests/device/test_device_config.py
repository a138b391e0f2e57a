from dataclasses import replace
from pathlib import Path
from typing import Any

import board_models as models
import pytest
from convoy_controller.enrollment.authority import Authority
from convoy_device import cli
from convoy_device.config import Config, credentials, fleet, load, processor_rate, trusted_key
from convoy_device.errors import ConfigError
from convoy_device.fabric.rates import measured
from convoy_schema.bundle import public_pem
from convoy_schema.processors import ProcessorRate
from tls_broker import board_certificate, utc_now

MINIMAL = """
name = "board-1"
site = "main"
broker = "mqtt://localhost:1883"
state_dir = "state"
trusted_key = "keys/trusted.pem"
"""


def written(tmp_path: Path, text: str = MINIMAL) -> Path:
    path = tmp_path / "board.toml"
    path.write_text(text)
    (tmp_path / "keys").mkdir(exist_ok=True)
    (tmp_path / "keys" / "trusted.pem").write_bytes(public_pem(models.KEY))
    return path


def test_paths_are_relative_to_the_file_and_the_rest_has_defaults(tmp_path: Path) -> None:
    config = load(written(tmp_path))
    assert config == Config(
        "board-1", "main", "mqtt://localhost:1883", tmp_path / "state", tmp_path / "keys" / "trusted.pem"
    )
    assert trusted_key(config).public_bytes_raw() == models.TRUSTED.root.public_bytes_raw()


def test_paths_do_not_depend_on_where_the_process_is_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path)
    monkeypatch.chdir(tmp_path)
    config = load(Path("board.toml"), {"trusted_key": Path("other.pem")})
    assert (config.state_dir, config.trusted_key) == (tmp_path / "state", tmp_path / "other.pem")


ENCRYPTED = (
    MINIMAL.replace("mqtt://localhost:1883", "mqtts://broker") + 'ca = "tls/ca.pem"\ncertificate = "tls/me.pem"\n'
)


def test_an_encrypted_broker_has_its_files(tmp_path: Path) -> None:
    assert credentials(load(written(tmp_path))) is None
    (tmp_path / "tls").mkdir()
    for name in ("board-1", "board-2"):
        issued = board_certificate(Authority.create("test", utc_now()), name, utc_now())
        (tmp_path / "tls" / f"{name}.pem").write_bytes(issued.pem())
    (tmp_path / "tls" / "me.pem").symlink_to("board-1.pem")
    config = load(written(tmp_path, ENCRYPTED + 'server_name = "convoy-broker"\nenrollment = "10.0.0.1:8884"\n'))
    found = credentials(config)
    assert found is not None
    assert (found.ca, found.certificate) == (tmp_path / "tls" / "ca.pem", tmp_path / "tls" / "me.pem")
    assert (found.key, found.server_name, config.enrollment) == (None, "convoy-broker", "10.0.0.1:8884")
    found.floor.raise_to(5)
    assert credentials(config).floor.seconds == 5, "kept in the state directory"  # type: ignore[union-attr]
    with pytest.raises(ConfigError, match="--count must be 1 with a certificate"):
        fleet(config, 2)
    with pytest.raises(ConfigError, match=r"me\.pem is the certificate of 'board-1', and this is 'other'"):
        credentials(load(written(tmp_path, ENCRYPTED), {"name": "other"}))
    with pytest.raises(ConfigError, match=r"gone\.pem holds no certificate"):
        credentials(load(written(tmp_path, ENCRYPTED.replace("me.pem", "gone.pem"))))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (ENCRYPTED.replace('ca = "tls/ca.pem"\n', ""), "mqtts:// needs key 'ca'"),
        (ENCRYPTED.replace('certificate = "tls/me.pem"\n', ""), "mqtts:// needs key 'certificate'"),
        (MINIMAL + 'ca = "tls/ca.pem"\n', "key 'ca' is only for a broker at mqtts://"),
        (MINIMAL + 'server_name = "x"\n', "key 'server_name' is only for"),
        (ENCRYPTED + "key = 5\n", "key 'key' must be a path as a string, 5 is there"),
        (ENCRYPTED + 'enrollment = "host:port"\n', "key 'broker'.*port"),
    ],
)
def test_encryption_is_whole_or_not_there(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        load(written(tmp_path, text))


def test_a_board_with_a_chip_is_one_board(tmp_path: Path) -> None:
    config = load(written(tmp_path), {"fabric": "pynq"})
    assert fleet(config, 1) == (config,)
    with pytest.raises(ConfigError, match="--count must be 1 with fabric pynq, 2 came"):
        fleet(config, 2)


def test_every_key_is_read_and_overrides_win(tmp_path: Path) -> None:
    text = MINIMAL + (
        'fabric = "processor"\nstore_quota_mb = 8\nqueue_frames = 5\npace = 2\nlog_level = "debug"\n'
        '[labels]\nrack = "left"\n'
    )
    config = load(written(tmp_path, text), {"name": "other", "broker": None})
    assert (config.name, config.broker) == ("other", "mqtt://localhost:1883")
    assert (config.fabric, config.store_quota_mb, config.queue_frames, config.pace) == ("processor", 8, 5, 2)
    assert (config.log_level, config.labels) == ("debug", {"rack": "left"})


def test_a_processor_is_stated_or_measured_and_an_emulated_boards_is_none_unless_said(tmp_path: Path) -> None:
    def rate(text: str = "", **overrides: str) -> ProcessorRate | None:
        return processor_rate(load(written(tmp_path, MINIMAL + text), overrides))

    figures = "processor_macs_per_s = 150e6\nprocessor_bytes_per_s = 2e8\n"
    assert rate(figures) == ProcessorRate(150e6, 2e8)
    assert rate(figures + "processor_call_s = 2e-4\n", fabric="pynq") == ProcessorRate(150e6, 2e8, 2e-4)
    assert rate() is None
    assert rate('processor = "none"', fabric="pynq") is None
    assert rate('processor = "measured"') == rate(fabric="pynq") == measured()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (('name = "board-1"\n', ""), r"board.toml: key 'name' is missing"),
        (('"board-1"', '"Board 1"'), r"board.toml: key 'name': name 'Board 1' must be 1 to 63"),
        (('"board-1"', "7"), r"key 'name' must be a string, 7 is there"),
        (('"main"', '"a/b"'), r"key 'site'"),
        (("mqtt://localhost:1883", "http://localhost"), r"key 'broker': .*mqtt://host:port"),
        (('state_dir = "state"', "state_dir = 3"), r"key 'state_dir' must be a path"),
        (('site = "main"', 'site = "main"\nfabrik = "x"'), r"key 'fabrik' is not known; did you mean 'fabric'\?"),
        (
            ('site = "main"', 'site = "main"\nfabric = "gold"'),
            r"key 'fabric' must be one of emulated, csim, processor, pynq, 'gold'",
        ),
        (('site = "main"', 'site = "main"\nstore_quota_mb = 0'), r"key 'store_quota_mb' must be a whole number from 1"),
        (('site = "main"', 'site = "main"\nqueue_frames = true'), r"key 'queue_frames' must be a whole number"),
        (('site = "main"', 'site = "main"\npace = -1'), r"key 'pace' must be a number above 0"),
        (('site = "main"', 'site = "main"\nlink_bytes_per_s = 0'), r"key 'link_bytes_per_s' must be a number of bytes"),
        (('site = "main"', 'site = "main"\nlink_frame_s = -1'), r"key 'link_frame_s' must be a number of seconds"),
        (('site = "main"', 'site = "main"\npartitions = 0'), r"key 'partitions' must be a whole number from 1 to 64"),
        (
            ('site = "main"', 'site = "main"\nprocessor = "a9"'),
            r"key 'processor' must be one of measured, stated, none",
        ),
        (('site = "main"', 'site = "main"\nprocessor = "stated"'), r"key 'processor' must be beside processor_macs"),
        (('site = "main"', 'site = "main"\nprocessor_macs_per_s = 1e9'), r"'processor_macs_per_s' must be beside"),
        (('site = "main"', 'site = "main"\nprocessor_call_s = -1'), r"key 'processor_call_s' must be a number from 0"),
        (
            ('site = "main"', 'site = "main"\nprocessor = "none"\nprocessor_bytes_per_s = 5'),
            r"key 'processor_bytes_per_s' must be absent unless",
        ),
        (('site = "main"', 'site = "main"\nlog_level = "loud"'), r"key 'log_level' must be one of debug"),
        (('site = "main"', 'site = "main"\nlabels = {a = 1}'), r"key 'labels' must be a table of at most 32 strings"),
        (('site = "main"', "site = "), r"board.toml: is not TOML"),
        (('site = "main"', "site = " + "[" * 2000), r"board.toml: tables and arrays may be nested"),
        (('site = "main"', "site = " + "9" * 5000), r"board.toml: is not TOML"),
        (('site = "main"', "site = 0x" + "f" * 5000), r"board.toml: whole numbers have at most 64 bits"),
    ],
)
def test_an_error_names_file_key_and_what_was_expected(
    tmp_path: Path, change: tuple[str, str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert change[0] in MINIMAL
    path = written(tmp_path, MINIMAL.replace(*change))
    with pytest.raises(ConfigError, match=expected):
        load(path)
    assert cli.main(["check", "--config", str(path)]) == 2
    assert "convoy-device: " in capsys.readouterr().err


def test_boards_that_share_a_process_have_as_many_threads_as_there_are_cores_unless_they_wait(tmp_path: Path) -> None:
    board = load(written(tmp_path))
    waiting = replace(board, pace=1.0)
    assert cli.lane_threads(fleet(board, 1), cores=8) == 2
    assert cli.lane_threads(fleet(board, 100), cores=8) == 8
    assert cli.lane_threads(fleet(board, 100), cores=1) == 2
    assert cli.lane_threads(fleet(waiting, 100), cores=2) == 16


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing.toml: cannot be read: No such file"):
        load(tmp_path / "missing.toml")


@pytest.mark.parametrize("content", [None, b"not a key"])
def test_a_trusted_key_that_cannot_be_used_is_an_error_of_the_configuration(
    tmp_path: Path, content: bytes | None, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path)
    key = tmp_path / "keys" / "trusted.pem"
    if content is None:
        key.unlink()
    else:
        key.write_bytes(content)
    for command in ("check", "run"):
        assert cli.main([command, "--config", str(path)]) == 2
        assert "key 'trusted_key'" in capsys.readouterr().err


def test_many_boards_get_names_and_directories_of_their_own(tmp_path: Path) -> None:
    config = load(written(tmp_path), {"name": "board"})
    boards = fleet(config, 3)
    assert [board.name for board in boards] == ["board-1", "board-2", "board-3"]
    assert len({board.state_dir for board in boards}) == 3
    assert fleet(config, 1) == (config,)
    with pytest.raises(ConfigError, match="--count must be at least 1"):
        fleet(config, 0)
    with pytest.raises(ConfigError, match="--count: name"):
        fleet(load(written(tmp_path), {"name": "b" * 63}), 2)


def test_check_prints_what_would_run_and_starts_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path)
    assert cli.main(["check", "--config", str(path), "--count", "2", "--name", "b", "--fabric", "processor"]) == 0
    shown = capsys.readouterr().out
    assert "board b-1 of site main" in shown
    assert "board b-2 of site main" in shown
    assert "processor, full speed" in shown
    assert not (tmp_path / "state").exists()


def test_help_documents_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["run", "--help"])
    assert caught.value.code == 0
    shown = capsys.readouterr().out
    assert "exit codes:" in shown
    assert "3  another daemon runs under this board's name" in shown


def test_the_example_configuration_is_valid() -> None:
    example = Path(__file__).parents[2] / "device" / "board.example.toml"
    config: Any = load(example)
    assert config.name == "board-1"
    assert config == Config("board-1", "local", config.broker, config.state_dir, config.trusted_key)
