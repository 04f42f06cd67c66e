"""The Dockerfile is built and run as on ECS: another user, a read-only root, no shell, SIGTERM."""

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from consumer import __version__
from tests.deploy.contained import as_contained
from tests.deploy.image import Buildah, make_base, size_of, what_is_missing
from tests.support.engines import TableEngine
from tests.support.processes import Game, WorkerProcess

MISSING = what_is_missing()
pytestmark = [
    pytest.mark.image,
    pytest.mark.timeout(900),
    pytest.mark.skipif(MISSING is not None, reason=f"no image can be built and run here: {MISSING}"),
]

ROOT = Path(__file__).parents[2]
LARGEST_MEGABYTES = 45
SHELLS = ("sh", "dash", "bash")


class Image(NamedTuple):
    """A built image, unpacked, without its shells."""

    root: Path
    config: dict[str, Any]
    megabytes: float
    base_megabytes: float

    @property
    def environment(self) -> dict[str, str]:
        return dict(variable.split("=", 1) for variable in self.config["Env"])

    @property
    def command(self) -> list[str]:
        return [*self.config["Entrypoint"], *self.config["Cmd"]]

    def contained(self, *command: str) -> list[str]:
        """The command line of a command in a container."""
        return as_contained(self.root, self.config["User"], *command)

    def run(self, *command: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
        """Runs a command in a container to its end."""
        return subprocess.run(
            self.contained(*command),
            env=self.environment | environment,
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    with Buildah() as buildah:
        base = buildah.folder / "base"
        make_base(base)
        buildah.import_base(base, "localhost/base")
        arguments = {"BASE_IMAGE": "localhost/base", "VERSION": __version__, "REVISION": "of-a-test"}
        buildah.build(ROOT, "localhost/consumer", arguments)
        root = buildah.open("localhost/consumer")
        sizes = [size_of(folder) / 1e6 for folder in (root, base)]
        for shell in SHELLS:
            (root / "usr" / "bin" / shell).unlink()
        yield Image(root, buildah.config("localhost/consumer"), *sizes)


@pytest.fixture
def game(ministack_url: str) -> Iterator[Game]:
    with Game(TableEngine("ministack", ministack_url), made=False) as game:
        yield game


def test_it_works_with_only_its_tables(image: Image, game: Game) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    settings = game.environment(http_port=str(port), http_host="127.0.0.1")
    given = {name: value for name, value in settings.items() if name.startswith(("AWS_", "CONSUMER_"))}
    consumer = image.config["Entrypoint"][0]

    made = image.run(consumer, "init", environment=given)
    assert made.returncode == 0, made.stderr
    with WorkerProcess(image.environment | given, command=image.contained(*image.command)) as worker:
        game.play(2_000, 50, poison=0.01)
        game.wait_until_consumed()
        health = image.run(*image.config["Healthcheck"]["Test"][1:], environment=given)
        assert (health.returncode, health.stderr) == (0, "")
        state = json.loads(image.run(consumer, "status", "--json", environment=given).stdout)
        assert worker.terminate().code == 0
    game.assert_exact()
    assert state["verdict"] in ("healthy", "behind")
    gone = image.run(*image.config["Healthcheck"]["Test"][1:], environment=given)
    assert gone.returncode == 1


def test_its_user_can_write_nothing(image: Image) -> None:
    code = "import os; print(os.getuid(), os.getgid(), os.getgroups()); open('/tmp/x', 'w')"
    ended = image.run("/app/bin/python", "-c", code, environment={})
    assert ended.stdout == "10001 10001 []\n"
    assert "Read-only file system: '/tmp/x'" in ended.stderr
    owned = [
        path
        for folder, folders, files in os.walk(image.root / "app")
        for path in (Path(folder) / name for name in [*folders, *files])
        if path.lstat().st_uid != 0 or (path.lstat().st_mode & 0o002 and not path.is_symlink())
    ]
    assert owned == []


def test_it_holds_the_locked_set_and_nothing_else(image: Image) -> None:
    listing = "from importlib.metadata import distributions as d; print(*(f'{x.name}=={x.version}' for x in d()))"
    held = image.run("/app/bin/python", "-c", listing, environment={}).stdout.lower().replace("_", "-").split()
    locked = [line.split()[0] for line in (ROOT / "requirements.txt").read_text().splitlines() if line[:1].isalpha()]
    assert set(held) <= {*locked, f"leaderboard-consumer=={__version__}"}
    assert {
        f"leaderboard-consumer=={__version__}",
        *(package for package in locked if package.startswith("boto")),
    } <= set(held)
    for service in ("dynamodb", "dynamodbstreams", "sts", "sso", "sso-oidc"):
        client = f"import boto3; boto3.client({service!r}, region_name='eu-west-1')"
        assert image.run("/app/bin/python", "-c", client, environment={}).stderr == ""


def test_its_labels(image: Image) -> None:
    labels = {name: value for name, value in image.config["Labels"].items() if name.startswith("org.opencontainers.")}
    short = {name.removeprefix("org.opencontainers.image."): value for name, value in labels.items()}
    assert (short["title"], short["licenses"]) == ("leaderboard-consumer", "Apache-2.0")
    assert (short["version"], short["revision"]) == (__version__, "of-a-test")
    assert image.environment["CONSUMER_HTTP_HOST"] == "0.0.0.0"
    assert image.config["ExposedPorts"] == {"9464/tcp": {}}


def test_it_is_small(image: Image) -> None:
    ours = image.megabytes - image.base_megabytes
    print(f"the image is {image.megabytes:.0f} MB, {ours:.0f} MB of it on top of its base")
    assert ours < LARGEST_MEGABYTES


def test_nothing_of_the_build_is_left(image: Image) -> None:
    assert not (image.root / "build").exists()
    assert not any((image.root / "run" / "secrets").glob("*"))
