"""README's commands for a real deployment, checked as far as nothing is deployed."""

import inspect
import re
import shlex

import pytest
from ruamel.yaml import YAML

from consumer.settings import OPTIONS, variable
from consumer.telemetry.health import HealthServer
from tests.deploy.checkers import ROOT
from tests.deploy.test_image import LARGEST_MEGABYTES
from tests.support.command_line import subcommands
from tests.support.engines import TableEngine

pytestmark = pytest.mark.deploy

SECTION = re.split(r"^## ", (ROOT / "README.md").read_text(), flags=re.MULTILINE)
REAL = next(part for part in SECTION if part.startswith("Run it for real\n"))
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def command_lines() -> list[list[str]]:
    """The words of each command in the section, without comments."""
    blocks = "\n".join(re.findall(r"^```\n(.*?)^```", REAL, re.MULTILINE | re.DOTALL)).replace("\\\n", " ")
    inline = re.findall(r"`((?:docker|consumer|aws|make) [^`]+)`", REAL.replace("\n", " "))
    return [entries for line in [*blocks.splitlines(), *inline] if (entries := shlex.split(line, comments=True))]


def test_it_runs_what_the_image_is() -> None:
    (entries,) = [entries for entries in command_lines() if entries[:2] == ["docker", "run"]]
    given = {entries[at + 1].partition("=")[0] for at, word in enumerate(entries) if word == "-e"}
    assert given <= {variable(name) for name in OPTIONS} | set(TableEngine("", "").variables())
    assert variable("source_table") in given
    assert "--init" in entries
    port = OPTIONS["http_port"].default
    assert f"127.0.0.1:{port}:{port}" in entries
    assert f"EXPOSE {port}" in DOCKERFILE
    assert re.findall(r"CONSUMER_\w+=\S+", DOCKERFILE) == ["CONSUMER_HTTP_HOST=0.0.0.0"]
    assert "USER 10001:10001" in DOCKERFILE
    assert f"less than {LARGEST_MEGABYTES} MB on top" in REAL


def test_its_commands_are_there() -> None:
    known = subcommands()
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    ours = [entries[entries.index("consumer", 1) :] for entries in command_lines() if entries[:2] == ["docker", "exec"]]
    ours = [entries[1:] if entries[0] == entries[1] else entries for entries in ours]  # the container has our name
    ours += [entries for entries in command_lines() if entries[0] == "consumer"]
    assert ours
    assert {entries[1] for entries in ours} <= set(known)
    assert {entries[1] for entries in command_lines() if entries[0] == "make"} <= targets


def test_its_files_are_there() -> None:
    named = set(re.findall(r"(?<![\w/])(?:deploy|tests)/[\w./-]*\w", REAL))
    assert len(named) > 3
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_its_aws_commands_fit_their_templates() -> None:
    deploys = [entries for entries in command_lines() if entries[:3] == ["aws", "cloudformation", "deploy"]]
    assert len(deploys) == len([entries for entries in command_lines() if entries[0] == "aws"]) == 2
    for entries in deploys:
        template = YAML().load(ROOT / entries[entries.index("--template-file") + 1])
        parameters = template["Parameters"]
        pairs = entries[entries.index("--parameter-overrides") + 1 :] if "--parameter-overrides" in entries else []
        given = dict(pair.split("=", 1) for pair in pairs)
        needed = {name for name, said in parameters.items() if "Default" not in said}
        assert needed <= given.keys() <= parameters.keys()
        for name, value in given.items():
            assert re.fullmatch(parameters[name].get("AllowedPattern", ".*"), value), name
        roles = [name for name, made in template["Resources"].items() if made["Type"] == "AWS::IAM::Role"]
        assert bool(roles) == ("CAPABILITY_IAM" in entries)


def test_the_limits_of_the_server_are_the_codes() -> None:
    limits = inspect.signature(HealthServer).parameters
    said = f"to {limits['max_connections'].default} clients at a time with "
    said += f"{limits['request_timeout_seconds'].default:.0f} seconds per request"
    assert said in " ".join(REAL.split())
