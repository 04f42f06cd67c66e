"""An emulator's CloudFormation creates the templates' stacks, and a worker runs with their outputs."""

import re
import threading
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from botocore.exceptions import ClientError

from consumer.aws.tables import LEADERBOARD_KEYS, LEASE_KEYS, QUARANTINE_KEYS, DynamoTables, index_status_of
from tests.deploy import environment_file
from tests.deploy.cloudformation import Cloud, properties
from tests.deploy.iam import grants_of, statements
from tests.support.engines.table_engine import REGION
from tests.support.processes import Game, Row, WorkerProcess, read_board, until

pytestmark = pytest.mark.deploy

ACCOUNT = "000000000000"
IMAGE = "registry.example/consumer:1.0.0"
OTHER_SCHEMA = {
    "CONSUMER_PLAYER_ATTRIBUTE": "user",
    "CONSUMER_SCORE_ATTRIBUTE": "points",
    "CONSUMER_TIMESTAMP_ATTRIBUTE": "playedAt",
    "CONSUMER_MAX_FUTURE_SECONDS": "315360000",
    "CONSUMER_POLL_INTERVAL_SECONDS": "0.1",
    "CONSUMER_BATCH_WINDOW_SECONDS": "0.2",
    "CONSUMER_BREAKER_WINDOW": "50",
    "CONSUMER_BREAKER_SHARE": "0.8",
}
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


def test_a_file_of_variables_runs_another_schema(cloud: Cloud, game: Game) -> None:
    """Other attributes, breaker, polls and windows, and keys: as the task gets them."""
    key = cloud.client("kms").create_key()["KeyMetadata"]["Arn"]
    s3, bucket = cloud.client("s3"), "games-config"
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    text = environment_file.FILE.read_text()
    for name, value in OTHER_SCHEMA.items():
        text, found = re.subn(rf"^#{name}=.*$", f"{name}={value}", text, flags=re.MULTILINE)
        assert found == 1, name
    s3.put_object(Bucket=bucket, Key="leaderboard-1.env", Body=text.encode())
    arn = f"arn:aws:s3:::{bucket}/leaderboard-1.env"

    source = f"{game.tables['source']}-other"
    names = {"LeaderboardTable": f"{source}-board", "LeaseTable": f"{source}-leases", "QuarantineTable": f"{source}-q"}
    cloud.create("tables.yaml", "other-tables", **names, KeyArn=key)
    given = {**parameters(cloud, game), **names, "SourceTable": source, "EnvironmentFile": arn}
    keys = {"TablesKeyArn": key, "SourceKeyArn": key, "LogKeyArn": key}
    outputs = cloud.create("service.yaml", "other", **given, **keys)
    (group,) = cloud.client("logs").describe_log_groups(logGroupNamePrefix=outputs["LogGroup"])["logGroups"]
    assert group["kmsKeyId"] == key
    roles = {"worker", "tables-key", "source-key"}
    assert set(cloud.client("iam").list_role_policies(RoleName=role_of(outputs))["PolicyNames"]) == roles
    read, locate = allowed_to_start(cloud, "other", "variables")
    assert (read, locate["Resource"]) == ({**read, "Action": ["s3:GetObject"], "Resource": arn}, arn.partition("/")[0])
    body = s3.get_object(Bucket=bucket, Key=read["Resource"].partition("/")[2])["Body"].read().decode()
    variables_of_file = environment_file.parsed(body)
    assert variables_of_file == OTHER_SCHEMA

    create_source(game.client, source)
    environment = {**cloud.engine.environment(), **variables_of_file, **variables(cloud, "other"), **HERE}
    with WorkerProcess(environment) as worker:
        for number in range(30):
            game.client.put_item(
                TableName=source,
                Item={
                    "user": {"S": f"u{number % 3}"},
                    "playedAt": {"S": f"2026-01-{number + 1:02}"},
                    "points": {"N": "2"},
                },
            )
        right = {f"u{number}": Row(10, Decimal(20), f"2026-01-{28 + number}") for number in range(3)}
        until(lambda: read_board(game.client, names["LeaderboardTable"]) == right, "the board of another schema")
        assert worker.terminate().code == 0


def create_source(client: Any, name: str) -> None:
    """A source table whose attributes have other names."""
    keys = {"user": "HASH", "playedAt": "RANGE"}
    client.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": key, "KeyType": role} for key, role in keys.items()],
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
    )


def allowed_to_start(cloud: Cloud, stack: str, policy: str) -> list[dict[str, Any]]:
    """The statements of a policy of the role that Fargate has before the worker runs."""
    iam = cloud.client("iam")
    (role,) = [role["RoleName"] for role in iam.list_roles()["Roles"] if f"{stack}-ExecutionRole" in role["RoleName"]]
    found: list[dict[str, Any]] = iam.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]["Statement"]
    return found


def role_of(outputs: dict[str, str]) -> str:
    """The name of the workers' role."""
    return outputs["TaskRoleArn"].rpartition("/")[2]


def test_the_role_allows_what_the_policy_does(cloud: Cloud, game: Game, service: dict[str, str]) -> None:
    made = cloud.client("iam").get_role_policy(RoleName=role_of(service), PolicyName="worker")["PolicyDocument"][
        "Statement"
    ]
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
