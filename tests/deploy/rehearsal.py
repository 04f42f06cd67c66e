"""An installation whose processes are recorded, each by a proxy of its own."""

import json
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, Self

from tests.deploy.needs import Need, needs_of
from tests.engines import TableEngine
from tests.processes import Call, Game, Proxy, WorkerProcess, consumer, until
from tests.processes.sts import Sts
from tests.streams_server import Remote, StreamsServer
from tests.streams_server.drain import undrained


class Rehearsal:
    """Use it in a `with`. `needs` tells them by who did it: `run`, or a command's words without its arguments."""

    def __init__(self, ministack_url: str) -> None:
        self._ministack_url = ministack_url
        self._stack = ExitStack()
        self._calls: dict[str, list[list[Call]]] = {}

    def __enter__(self) -> Self:
        self._server = self._stack.enter_context(StreamsServer(self._ministack_url))
        self.remote: Remote = self._server.remote
        engine = replace(TableEngine("ministack", self._ministack_url), url=self._server.url)
        self.game = self._stack.enter_context(Game(engine, made=False))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def account_arn(self) -> str:
        """What the ARNs of tables begin with."""
        return self.game.stream_arn.partition("/")[0]

    @property
    def placeholders(self) -> dict[str, str]:
        """What the policies' placeholders stand for here."""
        _, partition, _, region, account, _ = self.account_arn.split(":")
        aws = {"AWS::Partition": partition, "AWS::Region": region, "AWS::AccountId": account}
        tables = {f"{table.capitalize()}Table": name for table, name in self.game.tables.items()}
        return {**aws, **tables, "OtherTable": self.other_table}

    @property
    def other_table(self) -> str:
        """A leaderboard that a replay counts into."""
        return self.game.tables["leaderboard"] + "-other"

    @property
    def needs(self) -> dict[str, set[Need]]:
        """What has been needed so far."""
        return {
            who: set[Need]().union(*(needs_of(calls, self.account_arn) for calls in recorded))
            for who, recorded in self._calls.items()
        }

    @property
    def operations(self) -> set[str]:
        """All operations that were called."""
        return {call.operation for recorded in self._calls.values() for calls in recorded for call in calls}

    def worker(self, **settings: str) -> WorkerProcess:
        """Starts `consumer run`."""
        quick = {"lease_ttl_seconds": "1", "idle_poll_interval_seconds": "0.1", **settings}
        return self._stack.enter_context(WorkerProcess(self._environment("run", **quick)))

    def command(self, name: str, *arguments: str, code: int = 0, **settings: str) -> Any:
        """Runs one to its end; what it printed, read when that is JSON."""
        environment = self._environment(name, **{"lease_ttl_seconds": "1", **settings})
        ended = consumer(*name.split(), *arguments, environment=environment)
        assert ended.returncode == code, f"{name} {arguments}: {ended.returncode}: {ended.stderr[-6000:]}"
        return json.loads(ended.stdout) if "--json" in arguments else ended.stdout

    def wait_until_read(self) -> None:
        """Until the newest stream is read to its end."""
        arn = self.remote.streams()[-1]
        until(lambda: not undrained(self.remote.shards(arn), self.game.rows("lease"), arn), "all is read")

    def _environment(self, who: str, **settings: str) -> dict[str, str]:
        """Of a process whose calls are recorded."""
        proxy = self._stack.enter_context(Proxy(self._server.url))
        identity = self._stack.enter_context(Sts())
        self._calls.setdefault(who, []).extend((proxy.calls, identity.calls))
        return self.game.environment(proxy, **settings) | {"AWS_ENDPOINT_URL_STS": identity.url}
