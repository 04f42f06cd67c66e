"""The runbook names only commands, options, headings, metrics and log events that exist."""

import re
import shlex
from collections.abc import Iterator

import click
import pytest

from consumer.cli.app import app
from consumer.telemetry.metrics import PREFIX, PrometheusMeters
from tests.deploy.checkers import ROOT
from tests.support.command_line import subcommands

pytestmark = pytest.mark.deploy

TEXT = (ROOT / "deploy" / "RUNBOOK.md").read_text()
PARTS = ("Means:", "If you wait:", "Look", "Act", "Over:")


def command_lines() -> Iterator[list[str]]:
    """Each `consumer ...` command, in a line of its own or in the text, split into words."""
    for line in re.findall(r"^    (consumer .+)$", TEXT, re.MULTILINE) + re.findall(r"`(consumer [^`]+)`", TEXT):
        yield shlex.split(line, comments=True)


def check(entries: list[str]) -> None:
    """Fails when there is no such command or option, or when there are too many arguments."""
    command: click.Command = app
    rest = entries[1:]
    while group := subcommands(command):
        assert rest, f"{entries}: no subcommand"
        assert rest[0] in group, f"{entries}: no command {rest[0]}"
        command = group[rest.pop(0)]
    command.make_context(command.name, list(rest), resilient_parsing=False).close()


def test_commands_and_options_exist() -> None:
    lines = list(command_lines())
    assert len(lines) > 10
    for entries in lines:
        check(entries)


@pytest.mark.parametrize(
    "entries", ["consumer heal", "consumer status --loud", "consumer checkpoint show A B", "consumer checkpoint show"]
)
def test_wrong_commands_are_found(entries: str) -> None:
    with pytest.raises(Exception, match=r"heal|No such option|unexpected extra|Missing parameter"):
        check(entries.split())


def test_each_heading_has_all_its_parts() -> None:
    for section in TEXT.split("\n## ")[1:]:
        heading = section.partition("\n")[0]
        assert [part for part in PARTS if part.lower() not in section.lower()] == [], heading


def test_links_lead_to_headings_and_files() -> None:
    links = re.findall(r"\]\(([^)]+)\)", TEXT)
    anchors = {heading.lower().replace(" ", "-") for heading in re.findall(r"^## (.+)$", TEXT, re.MULTILINE)}
    assert links
    for link in links:
        path, _, anchor = link.partition("#")
        assert anchor in anchors if anchor else (ROOT / "deploy" / path).is_file(), link


def test_metrics_and_log_events_exist() -> None:
    exported = PrometheusMeters(version="1", worker_id="w").render().decode()
    events = (ROOT / "docs" / "log-events.md").read_text()
    entries = re.findall(r"`([a-z_.]+)`", TEXT)
    assert [word for word in entries if re.fullmatch(r"[a-z]+\.[a-z_]+", word) and f"`{word}`" not in events] == []
    assert [
        word for word in entries if word.endswith(("_seconds", "_owned")) and f"{PREFIX}_{word} " not in exported
    ] == []
