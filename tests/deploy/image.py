"""Builds an image without a daemon or a registry: on a base of Debian's own packages, with buildah."""

import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Self

_INDEX: Final = {
    "index-url": ("PIP_INDEX_URL", "UV_INDEX_URL"),
    "extra-index-url": ("PIP_EXTRA_INDEX_URL", "UV_EXTRA_INDEX_URL"),
    "trusted-host": ("PIP_TRUSTED_HOST", "UV_INSECURE_HOST"),
}
_BUNDLES: Final = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE")
_DEBIANS_BUNDLE: Final = "/etc/ssl/certs/ca-certificates.crt"


class Buildah:
    """buildah with storage in a temporary folder, which is always removed. Use it in a `with`."""

    def __enter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix="image-"))
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._run("rm", "--all", check=False)
        finally:
            for mount in reversed([*_mounts_below(self.folder)]):
                subprocess.run(["umount", "--lazy", mount], check=False)
            shutil.rmtree(self.folder)

    def import_base(self, root: Path, name: str) -> None:
        """Creates an image from a root file system."""
        recipe = self.folder / "base.Containerfile"
        recipe.write_text("FROM scratch\nCOPY . /\n")
        self._run("build", "--layers=false", "--tag", name, "--file", str(recipe), str(root))

    def build(self, context: Path, name: str, arguments: Mapping[str, str]) -> None:
        """Builds a folder's Dockerfile, with this machine's certificates and package index as its secrets."""
        index = self.folder / "index.env"
        index.touch(mode=0o600)
        index.write_text("".join(f"{key}={shlex.quote(value)}\n" for key, value in _index().items()))
        given = [f"--build-arg={key}={value}" for key, value in arguments.items()]
        files = {"index": str(index), "ca": _bundle()}
        secrets = [f"--secret=id={key},src={file}" for key, file in files.items() if Path(file).is_file()]
        self._run("build", "--layers=false", "--format=docker", "--tag", name, *given, *secrets, str(context))

    def config(self, name: str) -> dict[str, Any]:
        """An image's configuration, in Docker's form."""
        config: dict[str, Any] = json.loads(self._run("inspect", "--type=image", name))["Docker"]["config"]
        return config

    def open(self, name: str) -> Path:
        """A container's root file system, new from an image."""
        return Path(self._run("mount", self._run("from", name).strip()).strip())

    def _run(self, verb: str, *arguments: str, check: bool = True) -> str:
        storage = ["--root", str(self.folder / "storage"), "--runroot", str(self.folder / "run")]
        isolation = ["--isolation=chroot"] if verb == "build" else []
        done = subprocess.run(
            ["buildah", *storage, "--storage-driver=vfs", verb, *isolation, *arguments],
            check=False,
            capture_output=True,
            text=True,
        )
        assert not check or done.returncode == 0, f"buildah {verb}: {done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout


def size_of(root: Path) -> int:
    """The bytes of all files in a folder."""
    return sum(
        (Path(folder) / file).lstat().st_size for folder, _, files in os.walk(root, followlinks=False) for file in files
    )


def _bundle() -> str:
    return next((os.environ[name] for name in _BUNDLES if os.environ.get(name)), _DEBIANS_BUNDLE)


def _index() -> dict[str, str]:
    """The package index of this machine's pip and uv, as variables for both of them."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], check=True, capture_output=True, text=True
    ).stdout
    found = {"PIP_DEFAULT_TIMEOUT": "180", "UV_HTTP_TIMEOUT": "180"}
    for line in listed.splitlines():  # those of the environment come first
        key, _, value = line.partition("=")
        for name in _INDEX.get(key.rpartition(".")[2], ()):
            found.setdefault(name, shlex.split(value)[0])
    return found | {name: os.environ[name] for names in _INDEX.values() for name in names if name in os.environ}


def _mounts_below(folder: Path) -> Iterator[str]:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        if (point := line.split()[4]).startswith(f"{folder}/"):
            yield point


PACKAGES: Final = ("python3", "python3-venv", "ca-certificates")
"""What the Dockerfile needs in its base."""
_LEFT_OUT: Final = ("usr/share/doc", "usr/share/locale", "usr/share/man", "var/cache/apt", "var/lib/apt/lists")
_NEEDED: Final = ("buildah", "debootstrap", "apt-get", "unshare")


def what_is_missing() -> str | None:
    """Why no image can be built and run on this machine, or None."""
    if platform.system() != "Linux" or _release().get("ID") != "debian":
        return "it needs Debian"
    if os.geteuid() != 0:
        return "it needs root"
    if absent := [name for name in _NEEDED if shutil.which(name) is None]:
        return f"it needs {', '.join(absent)} (apt-get install buildah debootstrap)"
    if subprocess.run(["unshare", "--mount", "true"], check=False, capture_output=True).returncode != 0:
        return "it needs a mount namespace of its own, and may not create one here"
    if _mirror(_release()["VERSION_CODENAME"]) is None:
        return "apt has no source of this release's packages (apt-get update)"
    return None


def make_base(folder: Path) -> None:
    """Installs the packages of this machine's release that the image needs, from apt's own source."""
    codename = _release()["VERSION_CODENAME"]
    dpkg = folder / "etc" / "dpkg" / "dpkg.cfg.d" / "unsafe-io"
    dpkg.parent.mkdir(parents=True)
    dpkg.write_text("force-unsafe-io\n")  # it need not survive a power cut
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
    for path in _LEFT_OUT:
        shutil.rmtree(folder / path)


def _release() -> dict[str, str]:
    try:
        return platform.freedesktop_os_release()
    except OSError:
        return {}


def _mirror(codename: str) -> str | None:
    sites = _output("apt-get", "indextargets", "--format", "$(SITE) $(CODENAME) $(COMPONENT)", "Created-By: Packages")
    found = [line.split()[0] for line in sites.splitlines() if line.split()[1:] == [codename, "main"]]
    return found[0] if found else None


def _proxy() -> dict[str, str]:
    proxy = _output("apt-config", "dump", "--format", "%v%n", "Acquire::http::Proxy").strip()
    return {"http_proxy": proxy} if proxy else {}


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
