"""The CloudFormation templates: valid, of least privilege, and in line with the worker that they run."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from consumer.aws.items import EXPIRY
from consumer.aws.tables import INDEX, LEADERBOARD_KEYS, LEASE_KEYS, QUARANTINE_KEYS, Keys, keys_of
from consumer.cli import healthcheck
from consumer.settings import OPTIONS, PREFIX, TABLE_PATTERN, load, variable
from consumer.worker.daemon import DRAIN_SECONDS
from tests.deploy import environment_file
from tests.deploy.checkers import read_yaml
from tests.deploy.cloudformation import FOLDER, NAMES, ROOT, lint, parts, plain, policy_statements, properties, template
from tests.deploy.iam import statements
from tests.support.command_line import subcommands

pytestmark = pytest.mark.deploy

KEYS: dict[str, Keys] = {"Leaderboard": LEADERBOARD_KEYS, "Leases": LEASE_KEYS, "Quarantine": QUARANTINE_KEYS}
ON_EVERYTHING = {"ecr:GetAuthorizationToken"}
"""Actions for which AWS has no narrower resource than `*`."""
GIVEN = {"SourceTable": "GameEvents", "AWS::Region": "eu-west-1", "StreamsEndpointUrl": "https://vpce-1.example"}
SECRET = re.compile(r"secret|password|passwd|token|credential|access_?key|api_?key|\bAKIA|\bASIA", re.IGNORECASE)


def test_cfn_lint_accepts_them() -> None:
    assert {path.name for path in FOLDER.glob("*.yaml")} == set(NAMES)
    assert lint(*(FOLDER / name for name in NAMES)) == ""


def test_cfn_lint_finds_errors(tmp_path: Path) -> None:
    text = (FOLDER / "service.yaml").read_text()
    for right, wrong in (("StopTimeout: 30", "StopTimeout: thirty"), ("!Ref LogLevel", "!Ref LogLevels")):
        assert right in text
        (tmp_path / "wrong.yaml").write_text(text.replace(right, wrong))
        assert "wrong.yaml" in lint(tmp_path / "wrong.yaml")


# --- policies ---


def test_the_task_role_is_the_proven_policy() -> None:
    policy, *keys = properties("service.yaml", "IAM::Role")["TaskRole"]["Policies"]
    assert plain(policy["PolicyDocument"]["Statement"]) == statements("worker.json")
    granted = {each["Fn::If"][0]: each["Fn::If"][1]["PolicyDocument"]["Statement"] for each in keys}
    assert granted.keys() == {"TablesHaveKey", "SourceHasKey"}
    for condition, (statement,) in granted.items():
        assert statement["Resource"] == {"Ref": f"{condition.replace('Have', '').replace('Has', '')}Arn"}
        (of_file,) = statements("key.json")
        assert plain(statement["Condition"]) == of_file["Condition"], "the key serves DynamoDB alone"
        assert set(statement["Action"]) <= set(of_file["Action"])
    assert granted["TablesHaveKey"][0]["Action"] == statements("key.json")[0]["Action"]


@pytest.mark.parametrize("name", NAMES)
def test_no_policy_allows_more_than_it_must(name: str) -> None:
    for statement in plain(policy_statements(name)):
        assert statement.keys() & {"NotAction", "NotResource"} == set()
        assert [action for action in statement["Action"] if "*" in action] == []
        resources = statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]]
        for resource in resources:
            if resource == "*":
                assert set(statement["Action"]) <= ON_EVERYTHING
            else:
                assert "*" not in str(resource).removesuffix("${SourceTable}/stream/*")
    assert [part for part in parts(template(name)) if isinstance(part, dict) and "ManagedPolicyArns" in part] == []


@pytest.mark.parametrize("name", NAMES)
def test_no_secret_is_in_them(name: str) -> None:
    text = re.sub("|".join(ON_EVERYTHING), "", (FOLDER / name).read_text())
    assert SECRET.findall(text) == []


# --- the task ---


def container() -> dict[str, Any]:
    (task,) = properties("service.yaml", "ECS::TaskDefinition").values()
    (worker,) = task["ContainerDefinitions"]
    assert isinstance(worker, dict)
    return worker


def environment() -> dict[str, Any]:
    """Every variable that a task may have, as the template writes its value."""
    found = [part for part in parts(container()["Environment"]) if isinstance(part, dict) and "Name" in part]
    return {each["Name"]: each["Value"] for each in found}


def test_the_variables_are_settings_and_their_values_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    parameters = template("service.yaml")["Parameters"]
    values = {name: said.get("Default", GIVEN.get(name)) for name, said in parameters.items()} | GIVEN
    given = {
        name: str(values[value["Ref"]] if isinstance(value, dict) else value) for name, value in environment().items()
    }
    ours = {name: value for name, value in given.items() if name.startswith(PREFIX)}
    assert given.keys() - ours.keys() == {"AWS_REGION", "AWS_ENDPOINT_URL_DYNAMODB_STREAMS"}
    assert "CONSUMER_WORKER_ID" not in ours, "two tasks must not share it"
    for name, value in ours.items():
        monkeypatch.setenv(name, value)
    settings = load({}, needs=("stream",))
    for name in ("leaderboard_table", "lease_table", "quarantine_table", "start_position", "lease_ttl_seconds"):
        assert getattr(settings, name) == OPTIONS[name].default, f"another default than {name} has"
    assert settings.log_format == "json", "the alarms read it"


def test_a_file_of_variables_reaches_every_other_setting() -> None:
    assert environment_file.FILE.read_text() == environment_file.every_setting()
    assert environment_file.parsed(environment_file.FILE.read_text()) == {}, "as it is, it changes nothing"
    everywhere = set(re.findall(r"^#(\w+)=", environment_file.FILE.read_text(), re.MULTILINE)) | environment().keys()
    assert everywhere >= {variable(name) for name in OPTIONS} - {"CONSUMER_WORKER_ID"}
    condition, files, nothing = container()["EnvironmentFiles"]["Fn::If"]
    assert (condition, files) == ("HasEnvironmentFile", [{"Type": "s3", "Value": {"Ref": "EnvironmentFile"}}])
    assert nothing == {"Ref": "AWS::NoValue"}


def test_there_is_one_stop_timeout_and_a_worker_is_drained_within_it() -> None:
    (said,) = re.findall(r"--stop-timeout (\d+)", (ROOT / "README.md").read_text())
    compose = read_yaml("deploy/compose.yaml")["services"]["worker"]["stop_grace_period"]
    in_words = [
        re.findall(r"stop timeout of (\d+) s", (ROOT / name).read_text())
        for name in ("Dockerfile", "deploy/cloudformation/README.md")
    ]
    timeout = container()["StopTimeout"]
    assert [said, compose, *in_words] == [str(timeout), f"{timeout}s", [str(timeout)], [str(timeout)]]
    assert DRAIN_SECONDS + 5 < timeout <= 120, "what Fargate takes at most"
    assert f"within {DRAIN_SECONDS:.0f} s" in (FOLDER / "service.yaml").read_text()


def test_the_health_check_is_a_command_that_the_image_has() -> None:
    check = container()["HealthCheck"]
    kind, program, *entries = check["Command"]
    assert kind == "CMD", "the image has no shell at hand"
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert f'ENTRYPOINT ["{program}"]' in dockerfile
    subcommands()[entries[0]].make_context(entries[0], entries[1:], resilient_parsing=False).close()
    assert check["Timeout"] > healthcheck.TIMEOUT_SECONDS
    (image,) = re.findall(r"^HEALTHCHECK (.+) CMD", dockerfile, re.MULTILINE)
    ecs = {"interval": "Interval", "timeout": "Timeout", "start-period": "StartPeriod", "retries": "Retries"}
    assert image == " ".join(f"--{name}={check[key]}{'' if key == 'Retries' else 's'}" for name, key in ecs.items())


def test_it_runs_as_the_image_is_meant_to() -> None:
    worker, dockerfile = container(), (ROOT / "Dockerfile").read_text()
    assert f"\nUSER {worker['User']}\n" in dockerfile
    assert worker["ReadonlyRootFilesystem"] is True
    assert worker["LinuxParameters"] == {"InitProcessEnabled": True, "Capabilities": {"Drop": ["ALL"]}}
    port = environment()["CONSUMER_HTTP_PORT"]
    assert f"\nEXPOSE {port}\n" in dockerfile
    assert [str(each["ContainerPort"]) for each in worker["PortMappings"]] == [port]


def test_prometheus_finds_it_by_its_labels() -> None:
    labels = container()["DockerLabels"]
    comment = (ROOT / "deploy/prometheus/ecs.yml").read_text()
    assert dict(re.findall(r"_label: (ECS_\w+)\s+# \"(.+)\"", comment)) == labels
    assert labels["ECS_PROMETHEUS_EXPORTER_PORT"] == environment()["CONSUMER_HTTP_PORT"]
    (scrape,) = read_yaml("deploy/prometheus/ecs.yml")["scrape_configs"]
    (job,) = [rule["regex"] for rule in scrape["relabel_configs"] if rule.get("source_labels") == ["job"]]
    assert re.fullmatch(job, labels["ECS_PROMETHEUS_JOB_NAME"])


def test_a_deployment_never_stops_all() -> None:
    (service,) = properties("service.yaml", "ECS::Service").values()
    deployment = service["DeploymentConfiguration"]
    assert (deployment["MinimumHealthyPercent"], deployment["MaximumPercent"]) == (100, 200)
    assert deployment["DeploymentCircuitBreaker"] == {"Enable": True, "Rollback": True}
    assert template("service.yaml")["Parameters"]["DesiredCount"]["Default"] > 1


# --- the tables ---


def test_the_tables_are_those_that_init_makes_and_are_kept() -> None:
    tables = properties("tables.yaml", "DynamoDB::Table")
    assert {name: keys_of(table) for name, table in tables.items()} == KEYS
    for name, table in tables.items():
        whole = template("tables.yaml")["Resources"][name]
        assert (whole["DeletionPolicy"], whole["UpdateReplacePolicy"]) == ("Retain", "Retain")
        assert [key["KeyType"] for key in table["KeySchema"]] == ["HASH", "RANGE"][: len(KEYS[name])]
        assert table["BillingMode"] == "PAY_PER_REQUEST"
        key = {"Fn::If": ["HasKey", {"Ref": "KeyArn"}, {"Ref": "AWS::NoValue"}]}
        assert table["SSESpecification"] == {"SSEEnabled": True, "SSEType": "KMS", "KMSMasterKeyId": key}
        assert table["DeletionProtectionEnabled"] is True
        assert table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"] is True
        assert table["SSESpecification"]["SSEEnabled"] is True
        assert table.get("GlobalSecondaryIndexes", []) == ([INDEX] if KEYS[name] == QUARANTINE_KEYS else [])
        expiry = {"AttributeName": EXPIRY, "Enabled": True}
        assert table.get("TimeToLiveSpecification") == (None if KEYS[name] == LEADERBOARD_KEYS else expiry)


# --- the alarms ---


def test_alarms_read_events_that_are_logged() -> None:
    rows = (ROOT / "docs" / "log-events.md").read_text()
    for logical, filter_ in properties("alarms.yaml", "Logs::MetricFilter").items():
        pattern = filter_["FilterPattern"]
        events = re.findall(r'\$\.event = "([^"]+)"', pattern)
        assert events, logical
        found = [re.search(rf"^\| `{re.escape(event)}` \| (\w+) \| (.*?) \|", rows, re.MULTILINE) for event in events]
        fields = set(re.findall(r"\$\.(\w+)", pattern + filter_["MetricTransformations"][0]["MetricValue"])) - {"event"}
        for row in found:
            assert row is not None, f"{logical}: {events}"
            assert row[1] != "debug", "not logged at INFO"
            assert all(f"`{field}`" in row[2] for field in fields), f"{logical}: {fields}"


def test_each_filter_has_an_alarm_and_each_alarm_notifies_the_topic() -> None:
    alarms = properties("alarms.yaml", "CloudWatch::Alarm")
    made = [each["MetricTransformations"][0] for each in properties("alarms.yaml", "Logs::MetricFilter").values()]
    monitored_cluster = [
        part for part in parts(list(alarms.values())) if isinstance(part, dict) and "MetricName" in part
    ]
    ours = {
        each["MetricName"]["Fn::Sub"] for each in monitored_cluster if each.get("Namespace") == "LeaderboardConsumer"
    }
    assert {each["MetricName"]["Fn::Sub"] for each in made} == ours
    assert {each["MetricNamespace"] for each in made} == {"LeaderboardConsumer"}
    headings = re.findall(r"^## (.+)$", (ROOT / "deploy" / "RUNBOOK.md").read_text(), re.MULTILINE)
    for name, alarm in alarms.items():
        assert alarm["AlarmActions"] == alarm["OKActions"] == [{"Ref": "Topic"}], name
        (anchor,) = re.findall(r"deploy/RUNBOOK\.md#(\w+)$", alarm["AlarmDescription"])
        assert anchor in [heading.lower() for heading in headings], name


# --- parameters, and the commands that give them ---


@pytest.mark.parametrize("name", NAMES)
def test_each_parameter_says_what_it_is_and_what_it_may_be(name: str) -> None:
    for parameter, said in template(name)["Parameters"].items():
        assert said["Description"].endswith("."), parameter
        bounded = "AllowedPattern" in said or "AllowedValues" in said or "MaxValue" in said
        assert bounded or "AWS::" in said["Type"], f"{parameter} may be anything"
        if "Default" in said and "AllowedPattern" in said:
            assert re.search(said["AllowedPattern"], said["Default"]), parameter
        if parameter.endswith("Table"):
            assert said["AllowedPattern"] == TABLE_PATTERN
        if parameter.endswith("KeyArn"):
            assert said["AllowedPattern"] == template("tables.yaml")["Parameters"]["KeyArn"]["AllowedPattern"]


@pytest.mark.parametrize(
    ("parameter", "right", "wrong"),
    [
        (
            "Image",
            [
                "123456789012.dkr.ecr.eu-west-1.amazonaws.com/games/consumer:1.2.0",
                f"registry.example/x/y@sha256:{'0a' * 32}",
            ],
            ["consumer", "consumer:latest", "consumer:1 2", "registry:5000/consumer:latest", "x@sha256:12", ""],
        ),
        ("StartPosition", ["LATEST", "2026-01-31T12:00:00Z", "2026-01-31T12:00+01:00"], ["2026-01-31", "latest", ""]),
        ("StreamsEndpointUrl", ["", "https://vpce-1-2.streams.dynamodb.eu-west-1.vpce.amazonaws.com"], ["http://x"]),
        (
            "EnvironmentFile",
            ["", "arn:aws:s3:::games-config/leaderboard/1.env", "arn:aws-cn:s3:::games/a.env"],
            ["arn:aws:s3:::games/leaderboard.txt", "s3://games/leaderboard.env", "arn:aws:s3:::games/*.env"],
        ),
        (
            "TablesKeyArn",
            ["", "arn:aws:kms:eu-west-1:123456789012:key/0a1b2c3d-0000-4000-8000-0123456789ab"],
            [
                "alias/games",
                "arn:aws:kms:eu-west-1:123456789012:alias/games",
                "arn:aws:kms:eu-west-1:123456789012:key/*",
            ],
        ),
        ("PrometheusSecurityGroup", ["", "sg-0123456789abcdef0"], ["prometheus"]),
    ],
)
def test_patterns(parameter: str, right: list[str], wrong: list[str]) -> None:
    pattern = template("service.yaml")["Parameters"][parameter]["AllowedPattern"]
    assert [value for value in right if not re.search(pattern, value)] == []
    assert [value for value in wrong if re.search(pattern, value)] == []


def test_the_commands_of_the_readme_give_what_the_templates_take() -> None:
    text = (FOLDER / "README.md").read_text().replace("\\\n", " ")
    commands = [shlex.split(line) for line in re.findall(r"^    (aws cloudformation deploy .*)$", text, re.MULTILINE)]
    deployed = []
    for entries in commands:
        path = entries[entries.index("--template-file") + 1]
        document = template(path.removeprefix("deploy/cloudformation/"))
        first = path.rpartition("/")[2] not in deployed  # later, parameters that are not named keep their values
        deployed.append(path.rpartition("/")[2])
        overrides = entries[entries.index("--parameter-overrides") + 1 :] if "--parameter-overrides" in entries else []
        given = {word.partition("=")[0] for word in overrides if not word.startswith("--")}
        needed = {name for name, said in document["Parameters"].items() if "Default" not in said}
        assert needed <= given or not first, path
        assert given <= document["Parameters"].keys(), path
        iam = any(each["Type"].startswith("AWS::IAM") for each in document["Resources"].values())
        assert ("CAPABILITY_IAM" in entries) == iam, path
    assert set(deployed) == set(NAMES)


def test_the_statement_for_the_key_of_the_log_fits_the_log_and_the_grants_of_tables() -> None:
    (text,) = re.findall(r"^```json\n(.*?)^```", (FOLDER / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    statement = json.loads(text)
    assert statement["Action"] == statements("key.json")[0]["Action"]
    ((_, arn),) = statement["Condition"]["ArnLike"].items()
    (group,) = properties("service.yaml", "Logs::LogGroup")
    assert arn.endswith(f":log-group:leaderboard-{group}-*"), "the stack of step 4 names its log so"
