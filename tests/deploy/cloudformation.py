"""CloudFormation templates as data, checked by cfn-lint and created by an emulator."""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import boto3
import pytest
from ruamel.yaml import YAML, MappingNode, ScalarNode, SequenceNode
from ruamel.yaml.constructor import SafeConstructor

from consumer.demo.engine import Engine
from tests.support.engines import TableEngine
from tests.support.engines.table_engine import REGION
from tests.support.processes import until

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "cloudformation"
NAMES = ("tables.yaml", "endpoints.yaml", "service.yaml", "alarms.yaml", "verify.yaml")
_CFN_LINT = ROOT / ".venv-deploy" / "bin" / "cfn-lint"


class _Constructor(SafeConstructor):
    """Reads short tags in their long form: `!Ref X` is {"Ref": X}, `!Sub X` is {"Fn::Sub": X}."""

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
    """The properties of a template's resources of a type, by logical id."""
    resources = template(name)["Resources"]
    return {name: resource["Properties"] for name, resource in resources.items() if resource["Type"] == f"AWS::{kind}"}


def lint(*paths: Path) -> str:
    """What cfn-lint finds in templates, hints too; empty when nothing. `make deploy-test` installs it."""
    if not _CFN_LINT.exists():
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("no cfn-lint in .venv-deploy")
    done = subprocess.run(
        [_CFN_LINT, "--include-checks", "I", "--", *paths], check=False, capture_output=True, text=True
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


def parts(value: Any) -> Iterator[Any]:
    """A part of a template and all its parts."""
    yield value
    for part in value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ():
        yield from parts(part)


def policy_statements(name: str) -> list[dict[str, Any]]:
    """The statements of all policies of a template, without those that say who may assume a role."""
    documents = [part for part in parts(template(name)) if isinstance(part, dict) and "Statement" in part]
    statements = [statement for document in documents for statement in document["Statement"]]
    return [statement for statement in statements if "Principal" not in statement]


def plain(value: Any) -> Any:
    """Without `Fn::Sub` around texts: as the policies under deploy/iam are written."""
    if isinstance(value, dict):
        if value.keys() == {"Fn::Sub"}:
            return value["Fn::Sub"]
        return {name: plain(part) for name, part in value.items()}
    return [plain(part) for part in value] if isinstance(value, list) else value


_SERVICES = "cloudformation,dynamodb,dynamodbstreams,ec2,ecs,iam,kms,logs,monitoring,s3,sns"
NOT_EMULATED = {"service.yaml": "Service", "endpoints.yaml": "StreamsEndpoint", "alarms.yaml": "Restarts"}
"""Resources that the emulator cannot create: containers, an endpoint's names, an alarm on an expression."""


class _Engine(Engine):
    def environment(self, port: int) -> dict[str, str]:
        return {**super().environment(port), "SERVICES": _SERVICES}


class Cloud:
    """An emulator's CloudFormation and other services. Use it in a `with`."""

    def __enter__(self) -> Self:
        self._stack = ExitStack()
        server = self._stack.enter_context(_Engine())
        self.engine = TableEngine("ministack", server.url)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def client(self, service: str) -> Any:
        """A boto3 client; closed at the end."""
        client = boto3.client(
            service,
            endpoint_url=self.engine.url,
            region_name=REGION,
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        self._stack.callback(client.close)
        return client

    def network(self) -> dict[str, str]:
        """The parameters Vpc, Subnets and RouteTables of a new network."""
        ec2 = self.client("ec2")
        vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.1.0/24")["Subnet"]["SubnetId"]
        table = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
        return {"Vpc": vpc, "Subnets": subnet, "RouteTables": table}

    def create(self, name: str, stack: str | None = None, **parameters: str) -> dict[str, str]:
        """Creates a stack of a template without NOT_EMULATED; its outputs. AssertionError has the stack's events."""
        formation, stack = self.client("cloudformation"), stack or name.removesuffix(".yaml")
        formation.create_stack(
            StackName=stack,
            TemplateBody=json.dumps(_without(template(name), NOT_EMULATED.get(name))),
            Capabilities=["CAPABILITY_IAM"],
            Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
        )

        def ended() -> Any:
            (found,) = formation.describe_stacks(StackName=stack)["Stacks"]
            return None if found["StackStatus"].endswith("_IN_PROGRESS") else found

        found = until(ended, f"stack {stack} has ended")
        events = formation.describe_stack_events(StackName=stack)["StackEvents"]
        reasons = [event.get("ResourceStatusReason") for event in events if "FAILED" in event["ResourceStatus"]]
        assert found["StackStatus"] == "CREATE_COMPLETE", reasons
        return {output["OutputKey"]: output["OutputValue"] for output in found.get("Outputs", ())}

    def delete(self, name: str) -> None:
        """Deletes a template's stack."""
        formation, stack = self.client("cloudformation"), name.removesuffix(".yaml")
        formation.delete_stack(StackName=stack)

        def gone() -> bool:
            left = formation.list_stacks()["StackSummaries"]
            return {summary["StackStatus"] for summary in left if summary["StackName"] == stack} <= {"DELETE_COMPLETE"}

        until(gone, f"stack {stack} is gone")


def _without(document: dict[str, Any], resource: str | None) -> dict[str, Any]:
    """The template without a resource, and without outputs that refer to it."""
    resources = {name: kept for name, kept in document["Resources"].items() if name != resource}
    outputs = {
        name: output
        for name, output in document.get("Outputs", {}).items()
        if f'"{resource}"' not in json.dumps(output)
    }
    return {**document, "Resources": resources, "Outputs": outputs}
