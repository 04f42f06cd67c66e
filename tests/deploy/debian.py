"""A base for the image where the registry of official images is out of reach: Debian's own packages, by debootstrap."""

import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Final

PACKAGES: Final = ("python3", "python3-venv", "ca-certificates")
"""What the Dockerfile asks of its base."""
_LEFT_OUT: Final = ("usr/share/doc", "usr/share/locale", "usr/share/man", "var/cache/apt", "var/lib/apt/lists")
_NEEDED: Final = ("buildah", "debootstrap", "apt-get", "unshare")


def what_is_missing() -> str | None:
    """Why no image can be built and run on this machine, or None when it can."""
    if platform.system() != "Linux" or _release().get("ID") != "debian":
        return "it needs Debian"
    if os.geteuid() != 0:
        return "it needs root"
    if absent := [each for each in _NEEDED if shutil.which(each) is None]:
        return f"it needs {', '.join(absent)} (apt-get install buildah debootstrap)"
    if subprocess.run(["unshare", "--mount", "true"], check=False, capture_output=True).returncode != 0:
        return "it needs a mount namespace of its own, and may not make one here"
    if _mirror(_release()["VERSION_CODENAME"]) is None:
        return "apt names no place that has this release's packages (apt-get update)"
    return None


def make_base(folder: Path) -> None:
    """Installs this machine's release, and no more of it than the image needs, from where apt has its packages."""
    codename = _release()["VERSION_CODENAME"]
    hasty = folder / "etc" / "dpkg" / "dpkg.cfg.d" / "hasty"
    hasty.parent.mkdir(parents=True)
    hasty.write_text("force-unsafe-io\n")  # it need not survive a power cut
    mirror = _mirror(codename)
    assert mirror is not None, "see what_is_missing"
    command = ["debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", codename, str(folder)]
    done = subprocess.run(
        [*command, mirror],
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=os.environ | _proxy(),
    )
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-3000:]
    for each in _LEFT_OUT:
        shutil.rmtree(folder / each)


def _release() -> dict[str, str]:
    try:
        return platform.freedesktop_os_release()
    except OSError:
        return {}


def _mirror(codename: str) -> str | None:
    sites = _told("apt-get", "indextargets", "--format", "$(SITE) $(CODENAME) $(COMPONENT)", "Created-By: Packages")
    found = [line.split()[0] for line in sites.splitlines() if line.split()[1:] == [codename, "main"]]
    return found[0] if found else None


def _proxy() -> dict[str, str]:
    proxy = _told("apt-config", "dump", "--format", "%v%n", "Acquire::http::Proxy").strip()
    return {"http_proxy": proxy} if proxy else {}


def _told(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
