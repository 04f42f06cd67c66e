"""The runbook as data, and an installation on which its very commands are played."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from consumer.demo.child_process import spawn
from tests.deploy.checkers import ROOT
from tests.streams_server import Remote, StreamsServer
from tests.streams_server.remote import undrained
from tests.support.engines import TableEngine
from tests.support.processes import Game, Proxy, WorkerProcess, until
from tests.support.processes.waiting import http_get

TEXT = (ROOT / "deploy" / "RUNBOOK.md").read_text()
INTRODUCTION = "Runbook"
QUICK = {"poll_interval_seconds": "0.05", "idle_poll_interval_seconds": "0.1", "lease_ttl_seconds": "1"}
_ASKS = re.compile(
    r"consumer (resume|init --accept-rules|checkpoint set|quarantine (redrive|discard|restore)|gaps acknowledge)\b"
)


def sections() -> dict[str, str]:
    """The text under each heading, and the introduction."""
    parts = re.split(r"^##? (.+)\n", TEXT, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def commands(heading: str) -> list[str]:
    """The commands in lines of their own under a heading, without comments."""
    lines = re.findall(r"^    (?=\S)((?:.*\\\n)*.*)$", sections()[heading], re.MULTILINE)
    return [re.sub(r"\\\n\s*", "", re.sub(r"  +#.*$", "", line, flags=re.MULTILINE)).strip() for line in lines]


class Installation:
    """A game over the streams server, its workers, and the commands of an operator. Use it in a `with`."""

    def __init__(self, ministack_url: str) -> None:
        self._ministack_url = ministack_url
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        server = self._stack.enter_context(StreamsServer(self._ministack_url))
        self._variables = server.variables()
        self.url = server.url
        self.remote: Remote = server.remote
        engine = replace(TableEngine("ministack", self._ministack_url), url=server.faultless_url)
        self.game = self._stack.enter_context(Game(engine))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def environment(self, proxy: Proxy | None = None, **settings: str) -> dict[str, str]:
        """Of a worker or of an operator's shell."""
        program = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        chosen = self.game.environment(None, **{**QUICK, **settings})
        return chosen | (proxy.variables() if proxy else self._variables) | {"PATH": program}

    def proxy(self) -> Proxy:
        """A proxy for one worker, which can refuse its calls."""
        return self._stack.enter_context(Proxy(self.url))

    def worker(self, proxy: Proxy | None = None, **settings: str) -> WorkerProcess:
        """Starts `consumer run`."""
        return self.start(self.environment(proxy, **settings))

    def start(self, environment: Mapping[str, str]) -> WorkerProcess:
        """Starts `consumer run` in an environment."""
        return self._stack.enter_context(WorkerProcess(environment))

    def shell(self, command: str, environment: Mapping[str, str] | None = None) -> tuple[int, str]:
        """Exit code and output of a line in an operator's shell."""
        line, env = ["sh", "-c", command], environment or self.environment()
        with spawn(line, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as sh:
            out, _ = sh.communicate(timeout=150)  # `verify` waits for a minute
        return sh.returncode, out.decode()

    def status(self) -> tuple[int, Any]:
        """Exit code and document of `consumer status --json`."""
        code, out = self.shell("consumer status --json")
        return code, json.loads(out)

    def wait_for_status(self, code: int) -> Any:
        """Until `consumer status` ends with this code; its document."""
        return until(lambda: found[1] if (found := self.status())[0] == code else None, f"status {code}", 60)

    def wait_until_read(self) -> None:
        """Until the newest stream is read to its end."""
        arn = self.remote.streams()[-1]
        until(lambda: not undrained(self.remote.shards(arn), self.game.rows("lease"), arn), "all is read", 60)

    def shard(self) -> str:
        """The only shard's id."""
        lease = self.game.lease()
        assert lease is not None
        return str(lease["shardId"]["S"])

    def aws(self, command: str) -> Any:
        """The reply to a line of the AWS command line for DynamoDB."""
        program, service, operation, *rest = shlex.split(command)
        assert (program, service) == ("aws", "dynamodb")
        request: dict[str, Any] = {}
        while rest:
            name = "".join(word.capitalize() for word in rest.pop(0).removeprefix("--").split("-"))
            value = True if not rest or rest[0].startswith("--") else rest.pop(0)
            request[name] = json.loads(value) if isinstance(value, str) and value[0] == "{" else value
        return getattr(self.game.client, operation.replace("-", "_"))(**request)

    @contextmanager
    def play(self, heading: str) -> Iterator["Play"]:
        """The commands of a heading; AssertionError when one was not played."""
        play = Play(self, heading)
        yield play
        assert [command for command in commands(heading) if command not in play.played] == []


class Play:
    """Runs commands that stand under a heading, as they stand there."""

    def __init__(self, it: Installation, heading: str) -> None:
        self._it = it
        self._heading = heading
        self.played: set[str] = set()

    def __call__(self, command: str, *codes: int, **values: str) -> str:
        """Runs one, with values for its words in capitals; its output. `--yes` is added where it asks.

        `codes`: the exit codes that it may have; none: 0.
        """
        line = self.note(command)
        tables = {"Leaderboards": self._it.game.tables["leaderboard"], "GameEvents": self._it.game.tables["source"]}
        for word, value in {**tables, **values}.items():
            line = re.sub(rf"\b{word}\b", value, line)
        if line.startswith("aws "):
            return json.dumps(self._it.aws(line), default=str)
        if match := re.fullmatch(r"curl -s http://(\S+?)(/\S+)", line):
            return http_get(match[1], match[2])[1]
        if _ASKS.match(line) and "--dry-run" not in line:
            line += " --yes"
        ended, out = self._it.shell(line)
        assert ended in (codes or (0,)), f"{line}: exit code {ended}\n{out}"
        return out

    def note(self, command: str) -> str:
        """A command that the test plays itself. The whole command, which `command` may only begin."""
        listed = commands(self._heading)
        line = command if command in listed else next((line for line in listed if line.startswith(command)), "")
        assert line, f"{command!r} is not under {self._heading}: {listed}"
        self.played.add(line)
        return line
