"""Least privilege by recorded calls: every call is allowed, and everything that is allowed was called."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.iam import FOLDER, Grant, Need, denied, grants_of, statements, unused
from tests.deploy.rehearsal import Rehearsal, rehearse
from tests.support.command_line import commands

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(600)]

VIEWS = ("status", "top", "quarantine list", "quarantine show", "gaps list", "checkpoint show", "audit-log")
ACTIONS = (
    "resume",
    "checkpoint set",
    "quarantine redrive",
    "quarantine discard",
    "quarantine restore",
    "gaps acknowledge",
    "init --adopt",
    "init --accept-rules",
    "replay",
)
ROLES = {
    "worker.json": ("run",),
    "viewer.json": VIEWS,
    "operator.json": (*VIEWS, *ACTIONS),
    "replay-into.json": ("replay --into",),
    "auditor.json": ("verify",),
    "setup.json": ("init",),
}
NOT_RECORDED = {"key.json"}
"""DynamoDB uses a key in the caller's name: no call of ours shows it. A test compares it with the ECS template."""
WITH = {"replay-into.json": "operator.json"}
"""The policy beside which another one is attached."""
OPEN_TO_ALL = {"sts:GetCallerIdentity"}
"""AWS allows it without a policy."""
AWS_CODE = Path(__file__).parents[2] / "consumer" / "aws"
ONLY_IN_THE_DEMO = {"BatchWriteItem"}


@pytest.fixture(scope="module")
def rehearsal(ministack_url: str) -> Iterator[Rehearsal]:
    with Rehearsal(ministack_url) as rehearsal:
        rehearse(rehearsal)
        yield rehearsal


def granted(rehearsal: Rehearsal, name: str) -> list[Grant]:
    return grants_of(statements(name), rehearsal.placeholders)


def needed(rehearsal: Rehearsal, *commands: str) -> set[Need]:
    called = set[Need]().union(*(rehearsal.needs[command] for command in commands))
    return {need for need in called if need.action not in OPEN_TO_ALL}


@pytest.mark.parametrize("name", ROLES)
def test_every_call_is_allowed(rehearsal: Rehearsal, name: str) -> None:
    grants = [*granted(rehearsal, name), *(granted(rehearsal, WITH[name]) if name in WITH else ())]
    refused = [f"{command}: {need}" for command in ROLES[name] for need in denied(grants, needed(rehearsal, command))]
    assert not refused, "\n".join([f"deploy/iam/{name} does not allow it:", *refused])


@pytest.mark.parametrize("name", ROLES)
def test_everything_that_is_allowed_was_called(rehearsal: Rehearsal, name: str) -> None:
    idle = unused(granted(rehearsal, name), needed(rehearsal, *ROLES[name]))
    assert not idle, "\n".join([f"deploy/iam/{name} allows it, and none of {ROLES[name]} called it so:", *idle])


def test_every_command_was_rehearsed(rehearsal: Rehearsal) -> None:
    assert {path.name for path in FOLDER.glob("*.json")} == ROLES.keys() | NOT_RECORDED
    assert set(rehearsal.needs) == {command for commands in ROLES.values() for command in commands} | {"healthcheck"}
    assert rehearsal.needs["healthcheck"] == set()
    assert commands().keys() - {"demo"} == {command.split(" --")[0] for command in rehearsal.needs}


def test_every_operation_of_the_code_was_rehearsed(rehearsal: Rehearsal) -> None:
    code = "\n".join(path.read_text() for path in AWS_CODE.glob("*.py"))
    calls = re.findall(r'client\.([a-z_]+)\(|get_paginator\("(\w+)"\)|_client\.(scan|query)\b', code)
    names = {"".join(call) for call in calls} - {"get_paginator"}
    written = {"".join(word.capitalize() for word in name.split("_")) for name in names}
    assert len(written) > 10
    assert written - rehearsal.operations - ONLY_IN_THE_DEMO - {"GetCallerIdentity"} == set()


@pytest.mark.parametrize("name", ROLES)
def test_wildcards_are_only_where_aws_has_nothing_finer(name: str) -> None:
    for statement in statements(name):
        assert all(re.fullmatch(r"dynamodb:[A-Za-z]+", action) for action in statement["Action"])
        for resource in statement["Resource"]:
            assert "*" not in resource.removesuffix("${SourceTable}/stream/*"), (
                "only a stream's label is not known before"
            )


def test_a_missing_and_an_unused_permission_are_found(rehearsal: Rehearsal) -> None:
    grants, needs = granted(rehearsal, "worker.json"), needed(rehearsal, "run")
    for grant in grants:
        assert denied([other for other in grants if other != grant], needs), f"no call needs {grant}"
        assert unused([*grants, grant._replace(action="dynamodb:DeleteTable")], needs)
        assert unused([*grants, grant._replace(resource="arn:aws:dynamodb:*:*:table/another")], needs)
    wide = next(grant for grant in grants if grant.within)._replace(within=None)
    assert unused([wide], needs), "a condition was removed"


def test_the_documented_command_fills_in_the_placeholders(tmp_path: Path) -> None:
    command = re.search(r"^    (sed (?:.+\\\n)+.+) > operator\.json$", (FOLDER / "README.md").read_text(), re.MULTILINE)
    assert command is not None
    for name in ROLES.keys() | NOT_RECORDED:
        entries = command[1].replace("deploy/iam/operator.json", str(FOLDER / name))
        done = subprocess.run(entries, shell=True, check=True, cwd=tmp_path, capture_output=True, text=True)
        left = set(re.findall(r"\$\{\w+\}", done.stdout))
        assert left == {"replay-into.json": {"${OtherTable}"}, "key.json": {"${KeyArn}"}}.get(name, set())
        json.loads(done.stdout)
