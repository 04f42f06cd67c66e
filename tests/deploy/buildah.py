"""Builds images without a daemon, and opens them: everything it makes is in one temporary folder."""

import json
import os
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
    """Use it in a `with`: its storage is gone afterwards, whatever happened."""

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
        """Makes an image of a root file system."""
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
        """An image's configuration, as Docker words it."""
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
    """Bytes of all files below."""
    return sum(
        (Path(folder) / file).lstat().st_size for folder, _, files in os.walk(root, followlinks=False) for file in files
    )


def _bundle() -> str:
    return next((os.environ[name] for name in _BUNDLES if os.environ.get(name)), _DEBIANS_BUNDLE)


def _index() -> dict[str, str]:
    """Where this machine's pip and uv take packages from, for both of them."""
    told = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], check=True, capture_output=True, text=True
    ).stdout
    found = {"PIP_DEFAULT_TIMEOUT": "180", "UV_HTTP_TIMEOUT": "180"}
    for line in told.splitlines():  # the environment's come first, and win
        key, _, value = line.partition("=")
        for name in _INDEX.get(key.rpartition(".")[2], ()):
            found.setdefault(name, shlex.split(value)[0])
    return found | {name: os.environ[name] for names in _INDEX.values() for name in names if name in os.environ}


def _mounts_below(folder: Path) -> Iterator[str]:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        if (point := line.split()[4]).startswith(f"{folder}/"):
            yield point
