"""An emulator's CloudFormation creates the templates' stacks, and a worker runs with their outputs."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from consumer.aws.tables import LEADERBOARD_KEYS, LEASE_KEYS, QUARANTINE_KEYS, DynamoTables, index_status_of
from tests.deploy.cloudformation import Cloud, properties
from tests.deploy.iam import grants_of, statements
from tests.support.engines.table_engine import REGION
from tests.support.processes import Game, WorkerProcess

pytestmark = pytest.mark.deploy

ACCOUNT = "000000000000"
IMAGE = "registry.example/consumer:1.0.0"
HERE = {"CONSUMER_HTTP_HOST": "127.0.0.1", "CONSUMER_HTTP_PORT": "0"}


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    with Cloud() as cloud:
        yield cloud


@pytest.fixture(scope="module")
def game(cloud: Cloud) -> Iterator[Game]:
    """A game whose tables come from the template."""
    with Game(cloud.engine, made=False) as game:
        names = {f"{table.capitalize()}Table": name for table, name in game.tables.items() if table != "source"}
        outputs = cloud.create("tables.yaml", **names)
        assert outputs == names
        yield game


@pytest.fixture(scope="module")
def service(cloud: Cloud, game: Game) -> dict[str, str]:
    """The outputs of the service's stack."""
    return cloud.create("service.yaml", **parameters(cloud, game))


def parameters(cloud: Cloud, game: Game) -> dict[str, str]:
    """The required parameters of the service, and its tables."""
    network = {name: value for name, value in cloud.network().items() if name != "RouteTables"}
    names = {f"{table.capitalize()}Table": name for table, name in game.tables.items()}
    return {"Image": IMAGE, **names, **network}


def container(cloud: Cloud, stack: str) -> dict[str, Any]:
    """The container of a stack's task definition."""
    ecs = cloud.client("ecs")
    (arn,) = ecs.list_task_definitions(familyPrefix=stack)["taskDefinitionArns"]
    (found,) = ecs.describe_task_definition(taskDefinition=arn)["taskDefinition"]["containerDefinitions"]
    assert isinstance(found, dict)
    return found


def variables(cloud: Cloud, stack: str) -> dict[str, str]:
    """The variables of a stack's container."""
    return {variable["name"]: variable["value"] for variable in container(cloud, stack)["environment"]}


def test_the_tables_are_what_the_worker_wants(game: Game) -> None:
    tables = DynamoTables(game.client, game.streams, threading.Event())
    for table, keys in (("leaderboard", LEADERBOARD_KEYS), ("lease", LEASE_KEYS), ("quarantine", QUARANTINE_KEYS)):
        tables.check(game.tables[table], keys, table)
        found = game.client.describe_table(TableName=game.tables[table])["Table"]
        assert found["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
        assert found["DeletionProtectionEnabled"] is True
        assert index_status_of(found) == ("ACTIVE" if table == "quarantine" else None)


def test_the_tasks_variables_run_a_worker(cloud: Cloud, game: Game, service: dict[str, str]) -> None:
    assert container(cloud, "service")["image"] == IMAGE
    given = variables(cloud, "service")
    assert given.pop("AWS_REGION") == REGION
    assert [name for name in given if not name.startswith("CONSUMER_")] == [], "no endpoint was given"
    game.play(200, 20, poison=0.05)
    with WorkerProcess({**cloud.engine.environment(), **given, **HERE}) as worker:
        game.wait_until_consumed()
        assert worker.terminate().code == 0
    game.assert_exact()
    assert service.keys() == {"Cluster", "LogGroup", "TaskRoleArn", "TaskSecurityGroup"}


def test_an_endpoint_of_the_vpc_is_passed_on(cloud: Cloud, game: Game) -> None:
    url = "https://vpce-1-2.streams.dynamodb.eu-west-1.vpce.amazonaws.com"
    cloud.create("service.yaml", "inside", StreamsEndpointUrl=url, **parameters(cloud, game))
    assert variables(cloud, "inside")["AWS_ENDPOINT_URL_DYNAMODB_STREAMS"] == url


def test_the_role_allows_what_the_policy_does(cloud: Cloud, game: Game, service: dict[str, str]) -> None:
    name = service["TaskRoleArn"].rpartition("/")[2]
    made = cloud.client("iam").get_role_policy(RoleName=name, PolicyName="worker")["PolicyDocument"]["Statement"]
    aws = {"AWS::Partition": "aws", "AWS::Region": REGION, "AWS::AccountId": ACCOUNT}
    tables = {f"{table.capitalize()}Table": name for table, name in game.tables.items()}
    assert grants_of(made, {}) == grants_of(statements("worker.json"), aws | tables)


def test_alarms_watch_what_the_filters_make(cloud: Cloud, service: dict[str, str]) -> None:
    topic = f"arn:aws:sns:{REGION}:{ACCOUNT}:oncall"
    cloud.create("alarms.yaml", Topic=topic, LogGroup=service["LogGroup"], Cluster=service["Cluster"], Service="games")
    filters = cloud.client("logs").describe_metric_filters(logGroupName=service["LogGroup"])["metricFilters"]
    made = {each["metricTransformations"][0]["metricName"] for each in filters}
    alarms = cloud.client("cloudwatch").describe_alarms()["MetricAlarms"]
    assert len(alarms) == len(properties("alarms.yaml", "CloudWatch::Alarm")) - 1
    monitored_cluster = {alarm["MetricName"] for alarm in alarms}
    assert len(made) == len(properties("alarms.yaml", "Logs::MetricFilter"))
    assert made - monitored_cluster == {"alarms-starts"}, "that one's alarm is on an expression"


def test_endpoints(cloud: Cloud) -> None:
    cloud.create("endpoints.yaml", **cloud.network(), VpcCidr="10.0.0.0/16")
    made = cloud.client("ec2").describe_vpc_endpoints()["VpcEndpoints"]
    services = {each["ServiceName"].removeprefix(f"com.amazonaws.{REGION}.") for each in made}
    assert services == {"dynamodb", "s3", "ecr.api", "ecr.dkr", "logs"}


@pytest.mark.parametrize("wrong", [{"LeaseTable": "a b"}, {"QuarantineTable": ""}])
def test_wrong_parameters_are_refused(cloud: Cloud, wrong: dict[str, str]) -> None:
    with pytest.raises(ClientError, match=next(iter(wrong))):
        cloud.create("tables.yaml", "wrong", **wrong)


def test_the_tables_outlive_their_stack(cloud: Cloud, game: Game) -> None:
    cloud.delete("tables.yaml")
    assert set(game.tables.values()) <= set(game.client.list_tables()["TableNames"])
