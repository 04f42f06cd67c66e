"""An emulator's CloudFormation: a template is created with parameters, and what became of it can be asked for."""

import json
from contextlib import ExitStack
from typing import Any, Self

import boto3

from consumer.demo.engine import Engine
from tests.deploy.templates import template
from tests.engines import TableEngine
from tests.engines.table_engine import REGION
from tests.processes import until

_SERVICES = "cloudformation,dynamodb,dynamodbstreams,ec2,ecs,iam,logs,monitoring,sns"
UNKNOWN_TO_IT = {"service.yaml": "Service", "endpoints.yaml": "StreamsEndpoint", "alarms.yaml": "Restarts"}
"""Resources that it cannot make: containers, an endpoint's names, an alarm on an expression."""


class _Engine(Engine):
    def environment(self, port: int) -> dict[str, str]:
        return {**super().environment(port), "SERVICES": _SERVICES}


class Cloud:
    """Use it in a `with`."""

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
        """Parameters Vpc, Subnets and RouteTables of a network that it made."""
        ec2 = self.client("ec2")
        vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.1.0/24")["Subnet"]["SubnetId"]
        table = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
        return {"Vpc": vpc, "Subnets": subnet, "RouteTables": table}

    def create(self, name: str, stack: str | None = None, **parameters: str) -> dict[str, str]:
        """Creates a stack of a template without what it cannot make; the outputs. AssertionError with its events."""
        formation, stack = self.client("cloudformation"), stack or name.removesuffix(".yaml")
        formation.create_stack(
            StackName=stack,
            TemplateBody=json.dumps(_without(template(name), UNKNOWN_TO_IT.get(name))),
            Capabilities=["CAPABILITY_IAM"],
            Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
        )

        def ended() -> Any:
            (found,) = formation.describe_stacks(StackName=stack)["Stacks"]
            return None if found["StackStatus"].endswith("_IN_PROGRESS") else found

        found = until(ended, f"stack {stack} has ended")
        events = formation.describe_stack_events(StackName=stack)["StackEvents"]
        reasons = [each.get("ResourceStatusReason") for each in events if "FAILED" in each["ResourceStatus"]]
        assert found["StackStatus"] == "CREATE_COMPLETE", reasons
        return {each["OutputKey"]: each["OutputValue"] for each in found.get("Outputs", ())}

    def delete(self, name: str) -> None:
        """Deletes a template's stack."""
        formation, stack = self.client("cloudformation"), name.removesuffix(".yaml")
        formation.delete_stack(StackName=stack)

        def gone() -> bool:
            left = formation.list_stacks()["StackSummaries"]
            return {each["StackStatus"] for each in left if each["StackName"] == stack} <= {"DELETE_COMPLETE"}

        until(gone, f"stack {stack} is gone")


def _without(document: dict[str, Any], resource: str | None) -> dict[str, Any]:
    """The template without a resource, and without outputs that speak of it."""
    resources = {name: each for name, each in document["Resources"].items() if name != resource}
    outputs = {
        name: each for name, each in document.get("Outputs", {}).items() if f'"{resource}"' not in json.dumps(each)
    }
    return {**document, "Resources": resources, "Outputs": outputs}
