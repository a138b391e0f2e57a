"""Installing again changes nothing, uninstalling leaves what is the owner's, and an image is filled from outside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import board_models as models
import pytest
from convoy_schema.bundle import public_pem
from enrollment_service import Desk
from machine import QUICK, UNIT, Machine, drop_in
from service_fleet import play, service_fleet


def listing(machine: Machine) -> str:
    """Every file that an installation puts somewhere, with its content's sum and its time."""
    folders = "/etc/systemd/system /etc/sysusers.d /etc/convoy /opt/convoy /usr/local/bin"
    return machine.run("sh", "-c", f"find {folders} -not -path '*/site-packages/*' -printf '%p %m %u %T@ %l\\n' | sort")


def test_installing_again_changes_nothing_and_what_serves_goes_on(installed: Machine, broker: Any) -> None:
    async def scenario() -> None:
        async with service_fleet(installed, broker.url) as board:
            await board.start()
            board.place()
            await board.until_serving()
            await board.until_active()
            before, pid = listing(installed), installed.main_pid
            said = await board.inside(installed.run, "convoy-device", "install", "--from", "/wheels")
            assert "installed: version 0.1.0, started" in said
            assert "written" not in said
            assert listing(installed) == before
            assert installed.main_pid == pid

    play(scenario)


def test_the_configuration_is_the_service_s_to_read_and_root_s_to_write(installed: Machine) -> None:
    assert installed.run("stat", "-c", "%U:%G %a", "/etc/convoy").strip() == "root:convoy 750"


def test_a_claim_is_all_that_an_installation_needs(installed: Machine, tmp_path: Path) -> None:
    config, kept = "/etc/convoy/board.toml", "/etc/convoy/kept.toml"
    install = ("convoy-device", "install", "--from", "/wheels", "--no-start", "--claim")
    with Desk(tmp_path, trusted_key=public_pem(models.KEY).decode()) as desk:
        claim = str(desk.claim("board-8"))
        refused = installed.call(*install, claim)
        assert refused.returncode == 2, refused
        assert "is there, of board board-1" in refused.stderr
        installed.run("mv", config, kept)
        try:
            said = installed.run(*install, claim)
            assert "board board-8 is enrolled with site main" in said
            owners = installed.run("sh", "-c", "stat -c '%n %U %a' /var/lib/convoy/*.pem")
            assert sorted(owners.split("\n"))[1:] == [
                f"/var/lib/convoy/{name}.pem convoy 600" for name in ("board-8", "ca", "trusted")
            ]
            assert 'broker = "mqtts://127.0.0.1:8883"' in installed.run("cat", config)
            checked = ("runuser", "-u", "convoy", "--", "convoy-device", "check", "--config", config)
            assert "board-8" in installed.run(*checked)
        finally:
            installed.run("mv", kept, config)


@pytest.mark.parametrize(
    "pynq", [pytest.param(False, marks=pytest.mark.long), True], ids=["any machine", "a PYNQ image"]
)
def test_an_image_is_filled_from_outside_and_emptied_again(installed: Machine, pynq: bool) -> None:
    """The image is this machine's own system seen from another folder, without what is installed there."""
    root, python = "/tmp/image", "/usr/local/share/pynq-venv/bin/python3"
    installed.run(
        "sh",
        "-ec",
        f"rm -rf {root} && mkdir -p {root}/tmp {root}/opt {root}/etc/systemd/system {root}/var/lib {root}/usr\n"
        f"cp -a /etc/passwd /etc/group /etc/shadow /etc/alternatives {root}/etc\n"
        f"cp -a /usr/. {root}/usr && rm {root}/usr/local/bin/convoy-device\n"
        f"for name in bin sbin lib lib64; do [ ! -L /$name ] || cp -a /$name {root}; done\n"
        f"mkdir {root}/dev && cp -a /dev/null {root}/dev || mknod {root}/dev/null c 1 3\n",
    )
    if pynq:
        installed.run("chroot", root, "python3", "-m", "venv", "--system-site-packages", "/usr/local/share/pynq-venv")
        site = installed.run("chroot", root, python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))")
        installed.write(f"{root}{site.strip()}/pynq.py", "__version__ = '3.1.0'\n")
    command = ["convoy-device", "install", "--root", root, "--from", "/wheels", "--name", "board-9"]
    said = installed.run(*command)
    assert "trusted.pem is missing" in said
    config = installed.run("cat", f"{root}/etc/convoy/board.toml")
    assert 'name = "board-9"' in config
    assert ('fabric = "pynq"' if pynq else 'fabric = "emulated"') in config
    unit = f"{root}/etc/systemd/system/multi-user.target.wants/{UNIT}"
    assert installed.run("readlink", unit).strip() == f"/etc/systemd/system/{UNIT}"
    assert "convoy:" in installed.run("cat", f"{root}/etc/passwd")
    inside = ["chroot", root, "/opt/convoy/current/bin/python", "-c"]
    assert installed.run(*inside, "import convoy_device, numpy; print(numpy.__version__)").startswith("1.")
    seen = installed.call(*inside, "import pynq; print(pynq.__version__)")
    assert seen.stdout.strip() == ("3.1.0" if pynq else "")
    assert installed.run(*command) == said.replace("written: /etc/convoy/board.toml\n", "")
    installed.run("convoy-device", "uninstall", "--root", root)
    assert installed.call("test", "-e", f"{root}/opt/convoy").returncode == 1
    assert installed.call("test", "-e", unit).returncode == 1
    assert installed.run("cat", f"{root}/etc/convoy/board.toml") == config
    installed.run("convoy-device", "uninstall", "--root", root, "--purge")
    assert installed.call("test", "-e", f"{root}/etc/convoy").returncode == 1
    installed.run("rm", "-rf", root)


@pytest.mark.long
def test_what_is_uninstalled_is_gone_and_what_is_its_owner_s_stays(
    installed: Machine, wheels: Path, broker: Any
) -> None:
    # The script takes the newest, which another test may have broken.
    for forged in wheels.glob("convoy_fleet-0.1.[1-9]-*.whl"):
        forged.unlink()

    async def scenario() -> None:
        async with service_fleet(installed, broker.url) as board:
            await board.start()
            board.place()
            session = await board.until_serving()
            await board.inside(installed.run, "convoy-device", "uninstall")
            assert installed.show("LoadState")["LoadState"] == "not-found"
            for path in ("/opt/convoy", "/usr/local/bin/convoy-device", f"/etc/systemd/system/{UNIT}.d"):
                assert installed.call("test", "-e", path).returncode == 1, path
            config = installed.run("cat", "/etc/convoy/board.toml")
            await board.inside(installed.run, "/wheels/install.sh", "--name", "other")
            assert installed.run("cat", "/etc/convoy/board.toml") == config
            # It comes back with what it ran, which lay in its state.
            await board.until_serving(session)
            drop_in(installed, *QUICK)

    play(scenario)
