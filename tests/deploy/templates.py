"""CloudFormation templates as data: short tags in their long form, and what cfn-lint says of them."""

import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML, MappingNode, ScalarNode, SequenceNode
from ruamel.yaml.constructor import SafeConstructor

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "cloudformation"
NAMES = ("tables.yaml", "endpoints.yaml", "service.yaml", "alarms.yaml")
_CFN_LINT = ROOT / ".venv-deploy" / "bin" / "cfn-lint"


class _Constructor(SafeConstructor):
    """`!Ref X` is {"Ref": X}, `!Sub X` is {"Fn::Sub": X}."""

    def short_tag(self, suffix: str, node: Any) -> dict[str, Any]:
        value: Any
        match node:
            case ScalarNode():
                value = self.construct_scalar(node)
            case SequenceNode():
                value = self.construct_sequence(node, deep=True)
            case MappingNode():
                value = self.construct_mapping(node, deep=True)
        if suffix == "GetAtt" and isinstance(value, str):
            value = value.split(".", 1)
        return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


_Constructor.add_multi_constructor("!", _Constructor.short_tag)


def template(name: str) -> dict[str, Any]:
    """A template's document."""
    yaml = YAML(typ="safe", pure=True)
    yaml.Constructor = _Constructor
    document: dict[str, Any] = yaml.load(FOLDER / name)
    return document


def properties(name: str, kind: str) -> dict[str, dict[str, Any]]:
    """Of a template's resources of a type, by their logical id."""
    resources = template(name)["Resources"]
    return {logical: each["Properties"] for logical, each in resources.items() if each["Type"] == f"AWS::{kind}"}


def lint(*paths: Path) -> str:
    """What cfn-lint has against templates, hints too; empty when nothing. `make deploy-test` installs it."""
    if not _CFN_LINT.exists():
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("no cfn-lint in .venv-deploy")
    done = subprocess.run(
        [_CFN_LINT, "--include-checks", "I", "--", *paths], check=False, capture_output=True, text=True
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


def parts(value: Any) -> Iterator[Any]:
    """All that is in a part of a template: it itself, and its parts."""
    yield value
    for each in value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ():
        yield from parts(each)


def policy_statements(name: str) -> list[dict[str, Any]]:
    """Of all policies of a template, wherever they are, without those that say who may take a role."""
    documents = [part for part in parts(template(name)) if isinstance(part, dict) and "Statement" in part]
    statements = [statement for document in documents for statement in document["Statement"]]
    return [statement for statement in statements if "Principal" not in statement]


def plain(value: Any) -> Any:
    """Without `Fn::Sub` around texts: as the policies under deploy/iam say it."""
    if isinstance(value, dict):
        if value.keys() == {"Fn::Sub"}:
            return value["Fn::Sub"]
        return {name: plain(each) for name, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, list) else value
