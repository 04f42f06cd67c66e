"""The entry module: it catches signals before it imports anything, and it is what the console script runs."""

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
SHOW = """
import sys, signal, consumer.__main__ as entry
print(*sorted(name for name in sys.modules if name.startswith("consumer")))
print([signal.getsignal(number) is entry._caught for number in (signal.SIGTERM, signal.SIGINT)])
"""


def test_the_entry_catches_signals_and_imports_nothing_of_ours() -> None:
    shown = subprocess.run([sys.executable, "-c", SHOW], capture_output=True, text=True, check=True, cwd=ROOT)
    assert shown.stdout == "consumer consumer.__main__\n[True, True]\n"


def test_the_console_script_is_the_entry() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"consumer": "consumer.__main__:main"}
