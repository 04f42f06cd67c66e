"""The workflows of the public repository: schema, pinned actions, least permissions, targets that there are."""

import re
from typing import Any

import pytest

from tests.deploy.checkers import ROOT, read_yaml, schema_faults
from tests.deploy.cloudformation import template

pytestmark = pytest.mark.deploy

NAMES = [str(path.relative_to(ROOT)) for path in sorted((ROOT / ".github" / "workflows").glob("*"))]
WRITES = {("release.yml", "image"): {"packages"}, ("release.yml", "files"): {"contents"}}
"""What more than reading the repository a job may do."""


def jobs(name: str) -> dict[str, Any]:
    found: dict[str, Any] = read_yaml(name)["jobs"]
    return found


def steps(name: str) -> list[dict[str, Any]]:
    return [step for job in jobs(name).values() for step in job.get("steps", [])]


def test_they_follow_the_schema() -> None:
    assert len(NAMES) == 2
    assert schema_faults("vendor.github-workflows", *NAMES) == ""


@pytest.mark.parametrize("name", NAMES)
def test_every_action_is_pinned_by_its_commit(name: str) -> None:
    used = re.findall(r"uses: (.*)", (ROOT / name).read_text())
    loose = [
        each
        for each in used
        if not each.startswith("./") and not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", each)
    ]
    assert used
    assert loose == []


@pytest.mark.parametrize("name", NAMES)
def test_no_job_may_do_more_than_it_needs(name: str) -> None:
    assert read_yaml(name)["permissions"] == {"contents": "read"}
    for job, said in jobs(name).items():
        assert "timeout-minutes" in said or "uses" in said, job
        writes = {scope for scope, level in said.get("permissions", {}).items() if level != "read"}
        assert writes == WRITES.get((name.rpartition("/")[2], job), set()), job
    for step in steps(name):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


@pytest.mark.parametrize("name", NAMES)
def test_what_it_makes_can_be_made(name: str) -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    said = "\n".join(step.get("run", "") for step in steps(name))
    assert set(re.findall(r"\bmake ([\w-]+)", said)) <= targets
    assert "${{" not in said, "a shell must not be given what others may have written"
    for job in jobs(name).values():
        assert set(job.get("strategy", {}).get("matrix", {}).get("target", [])) <= targets


def test_a_release_waits_for_the_tests() -> None:
    release = jobs(".github/workflows/release.yml")
    assert release["test"]["uses"] == "./.github/workflows/ci.yml"
    assert all("test" in job["needs"] for job in release.values() if "permissions" in job)


def test_an_image_is_released_for_each_architecture_that_the_service_may_have() -> None:
    offered = template("service.yaml")["Parameters"]["CpuArchitecture"]["AllowedValues"]
    image = jobs(".github/workflows/release.yml")["image"]
    (build,) = [step["with"] for step in image["steps"] if step.get("uses", "").startswith("docker/build-push-action@")]
    names = {"X86_64": "linux/amd64", "ARM64": "linux/arm64"}
    assert build["platforms"].split(",") == [names[each] for each in offered]
    assert any(step.get("uses", "").startswith("docker/setup-qemu-action@") for step in image["steps"])
    built = jobs(".github/workflows/ci.yml")["image"]
    assert len(built["strategy"]["matrix"]["runner"]) == len(offered), "built and started before a release"


def test_known_vulnerabilities_are_asked_for_and_offline_is_not_clean() -> None:
    recipe = re.search(r"^audit:.*\n\t(.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert recipe is not None
    assert "--strict" in recipe[1]
    assert "make audit" in (ROOT / ".github/workflows/ci.yml").read_text()
    assert "audit" not in (ROOT / ".ci/run").read_text(), "its verdict depends on the day and on the network"
