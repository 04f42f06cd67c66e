"""Writes a CycloneDX SBOM and a list of licences of the locked packages.

    .venv/bin/python deploy/sbom.py requirements.txt dist

The licences are those that the installed packages declare. A locked package that is not installed here, because its
marker is not for this machine, has no licence in the SBOM and is not in the list of licences.
"""

import json
import re
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from typing import Any


def components(lock: str) -> Iterator[dict[str, Any]]:
    """One component per locked package, in the order of the lock."""
    for line in re.sub(r"\\\n", " ", lock).splitlines():
        pin = re.match(r"([A-Za-z0-9._-]+)==([^ ;]+)", line)
        if pin is None:
            continue
        name, version = pin[1], pin[2]
        component: dict[str, Any] = {
            "type": "library",
            "name": name,
            "version": version,
            "purl": f"pkg:pypi/{name}@{version}",
        }
        if (licence := licence_of(name)) is not None:
            component["licenses"] = [{"license": {"name": licence}}]
        yield component


def licence_of(name: str) -> str | None:
    """As the package says; None when it is not installed."""
    try:
        says = metadata(name)
    except PackageNotFoundError:
        return None
    classified = [
        line.rpartition(" :: ")[2] for line in says.get_all("Classifier", []) if line.startswith("License ::")
    ]
    short = (says.get("License") or "").partition("\n")[0]
    return says.get("License-Expression") or ", ".join(classified) or short or "not said"


def main(lock: Path, folder: Path) -> None:
    """Writes sbom.cdx.json and licences.txt into the folder."""
    parts = list(components(lock.read_text()))
    document = {"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1, "components": parts}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sbom.cdx.json").write_text(json.dumps(document, indent=2) + "\n")
    lines = [
        f"{part['name']} {part['version']}: {part['licenses'][0]['license']['name']}"
        for part in parts
        if "licenses" in part
    ]
    (folder / "licences.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
