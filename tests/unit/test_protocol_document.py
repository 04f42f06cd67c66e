"""docs/protocol.md is the protocol of the code: states, calls, conditions, guards, and two machines row by row."""

import ast
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from itertools import chain
from math import inf
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any, Final, cast, get_args

import pytest

from consumer.aws.board import row_update
from consumer.aws.commits import DynamoCommits
from consumer.aws.items import lease_item, quarantine_key
from consumer.aws.leases import DynamoLeases, DynamoMembership
from consumer.aws.operator_writes import (
    DynamoCircuits,
    DynamoGaps,
    DynamoLeaseAdmin,
    DynamoReplays,
    DynamoRuleList,
    DynamoTableBindings,
)
from consumer.aws.quarantine import DynamoQuarantine
from consumer.domain.accepted_rules import AcceptedRules
from consumer.domain.audit import AuditEntry
from consumer.domain.breaker import Breaker, Circuit
from consumer.domain.corrections import FoundItem, IndexRow, ItemWrite, RecordKey
from consumer.domain.errors import CallFailed, ConsumerError, DataTrimmed, FailureKind, IteratorExpired
from consumer.domain.fold import Delta, Unit
from consumer.domain.leases import (
    SHARD_END,
    TRIM_HORIZON,
    Adoption,
    BindingChange,
    Origin,
    StreamStart,
    TableBinding,
    TableNames,
)
from consumer.domain.marks import ABSENT, FORGOTTEN_SECONDS, Lineage, Mark, Route, RowWrite, StoredRow, route
from consumer.domain.membership import HeartbeatReport
from consumer.domain.operator_ports import AcceptedMark, Gap
from consumer.domain.quarantine import Application, OperatorAction, QuarantineEntry
from consumer.domain.records import Correction, Image, Rules
from consumer.domain.replay import Batch, Mode, Progress, Range
from consumer.domain.replies import (
    Children,
    Committed,
    Done,
    ListedShard,
    Lost,
    Refused,
    RowRefused,
    StreamListing,
)
from consumer.worker import ledger_calls, shard_calls
from consumer.worker.calls import Call, Ports, Reply
from consumer.worker.known_rows import KnownRows
from consumer.worker.ledger_calls import CoordinatorCall, SyncCall
from consumer.worker.row_writes import RowWrites
from consumer.worker.shard import ShardState
from consumer.worker.shard_calls import (
    Commit,
    MoveCheckpoint,
    Read,
    ReadItems,
    ReadRows,
    Release,
    RowCall,
    ShardCall,
    WriteRows,
)
from consumer.worker.stream_start import StartStep, StreamStarter
from consumer.worker.tuning import Tuning
from tests.simulation.guards import GUARDS
from tests.simulation.unproven import EXPLAINED, NOT_FOUND_YET
from tests.support.builders import (
    ARN,
    CREATED,
    ME,
    OTHER,
    SYMPTOM,
    build_shards,
    finished,
    game,
    lease,
    page,
    poison,
    row,
)
from tests.support.drivers import LinearBackoff, ShardDriver, kinds, opened_shard
from tests.support.fakes import FakeStreams

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "protocol.md").read_text()
NOTHING = "—"
NAMES = TableNames()
Row = dict[str, str]


def _section(heading: str) -> str:
    return f"\n{TEXT}".split(f"\n{heading}\n", 1)[1].partition("\n#")[0]


def _table(heading: str) -> list[Row]:
    """The rows of the table under a heading, by the titles of its columns."""
    lines = [line for line in _section(heading).splitlines() if line.startswith("|")]
    titles, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [dict(zip((title.strip("`") for title in titles), cells, strict=True)) for cells in rows]


def _code(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def _column(title: str, *headings: str) -> list[str]:
    """All names in backticks of a column, over the tables under these headings."""
    return [name for heading in headings for cells in _table(heading) for name in _code(cells[title])]


def _names(union: object) -> set[str]:
    return {kind.__name__ for kind in get_args(union)}


STATES: Final = tuple(state.value for state in ShardState)
CALLS: Final = {kind.__name__: cast(type[ShardCall], kind) for kind in get_args(ShardCall)}
REPLIES: Final = _table("### Replies")
OTHER_EVENTS: Final = _table("### Other events")
STEPS: Final = _table("## The start of a stream")
WORKER_WRITES, OPERATOR_WRITES = "## Conditions of the worker's writes", "## Conditions of the operators' writes"
RULES = "## Rules of order"


# --- names ---


def test_the_states_are_those_of_the_machines() -> None:
    assert _column("state", "### States") == list(STATES)
    for table in (REPLIES, OTHER_EVENTS):
        assert [title for title in table[0] if title in STATES] == list(STATES)
    assert set(_column("step", "## The start of a stream")) == {step.value for step in StartStep}


def test_the_calls_are_those_of_the_machines() -> None:
    assert _column("call", "### Calls") == list(dict.fromkeys(_column("call", "### Calls")))
    assert set(_column("call", "### Calls")) == set(_column("call", "### Replies")) == _names(ShardCall)
    assert set(_column("call", "## The coordinator")) == _names(CoordinatorCall)
    assert set(_column("call", "### Shard sync")) == _names(SyncCall)


def test_every_call_writes_under_conditions_or_reads() -> None:
    reads = re.search(r"^Reads \((.*?)\)", _section("## Lost replies"), re.MULTILINE | re.DOTALL)
    assert reads is not None
    writes = set(_column("write", WORKER_WRITES))
    assert writes == (_names(ShardCall) | _names(CoordinatorCall) | _names(SyncCall)) - set(_code(reads[1]))


WRITE = re.compile(r"`[^`]+`(?:, progress row|, a batch)?")
"""A write of a table; those of a replay with what they write."""


def _written(heading: str) -> set[str]:
    return {name for cells in _table(heading) for name in WRITE.findall(cells["write"])}


def test_what_a_lost_reply_means_is_said_of_every_write() -> None:
    assert _written("## Lost replies") == _written(WORKER_WRITES) | _written(OPERATOR_WRITES)
    assert _written("## A lease row") | _written("## A member's entry") <= _written("## Lost replies")


# --- guards and conditions ---


def test_every_guard_is_named_and_every_named_guard_exists() -> None:
    named = set(_column("proven by", WORKER_WRITES, OPERATOR_WRITES, RULES))
    proven = {guard.name for guard in GUARDS}
    unproven = {name for names in (*EXPLAINED, *NOT_FOUND_YET) for name in names.split(", ")}
    assert sorted(proven - named) == [], "guards that the document does not name"
    assert sorted(unproven - named) == [], "names of unproven.py that the document does not name"
    assert sorted(named - proven - unproven) == [], "names that are no guards"


def _defined(body: Sequence[ast.stmt], owner: str = "") -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            yield owner + node.name
        if isinstance(node, ast.ClassDef):
            yield from _defined(node.body, f"{node.name}.")


def test_the_classes_and_functions_that_the_document_names_exist() -> None:
    trees = [ast.parse(path.read_text()) for path in (ROOT / "consumer").rglob("*.py")]
    defined = {name for tree in trees for name in _defined(tree.body)}
    named = {*_column("where", RULES), *re.findall(r"`([A-Z][a-z]\w*(?:\.\w+)?)`", TEXT)}
    assert sorted(named - defined) == []


CLAUSE = re.compile(r"attribute_(?:not_)?exists\([#\w]+\)|[#\w.]+ <?= :\w+")
READS = {"#player = :player", "shardId = :shard", "shardId = :name", "attribute_exists(#state)"}
"""Conditions of queries and scans."""


class Recorder:
    """A client that keeps the conditions, and the changes, of what is written."""

    meta = SimpleNamespace(
        service_model=SimpleNamespace(service_id=SimpleNamespace(hyphenize=lambda: "dynamodb")),
        events=SimpleNamespace(register_first=lambda *_, **__: None),
    )

    def __init__(self) -> None:
        self.conditions: set[str] = set()
        self.changes = ""

    def transact_write_items(self, **request: Any) -> None:
        for action in request["TransactItems"]:
            self._record(*action.values())

    def scan(self, **_: Any) -> dict[str, Any]:
        return {"Items": [{**quarantine_key("shard-0", "2"), "state": {"S": "pending"}}]}

    def update_item(self, **request: Any) -> dict[str, Any]:
        self._record(request)
        return {"Attributes": lease_item(row(owner=ME))}

    def _record(self, write: dict[str, Any]) -> None:
        self.conditions.update(CLAUSE.findall(write.get("ConditionExpression", "")))
        self.changes += write.get("UpdateExpression", "")


CHILD, UNLISTED = row(1), finished(0, unlisted_since=CREATED)
UNIT = Unit("1", "2", "3", 1, {"foo": Delta(1, Decimal(9), "2026-01-31")}, (poison(2),), {}, CREATED, CREATED)
RECORD = RecordKey("shard-0", "1")
INDEX_ROW = IndexRow("{}", RECORD, None)
ITEM_WRITES = (
    ItemWrite("{}", FoundItem(INDEX_ROW, "pending", 1), None, supersedes=True),
    ItemWrite("{}", FoundItem(INDEX_ROW._replace(record=None)), None),
    ItemWrite("{}", None, INDEX_ROW),
)
MOVE = Unit("1", "", "3", 0, {}, (), {}, CREATED, CREATED)
COMPLETE = StreamStart(ARN, None, ("shard-0", "shard-1"), complete=True)
OLD = replace(COMPLETE, protocol=1)
SHARD, ANOTHER = str(lease().shard), str(row(9).shard)
MARK, FOUND, FOREIGN = Mark(SHARD, "3", CREATED), Mark(SHARD, "1", CREATED), Mark(ANOTHER, "1", CREATED)
ROW_WRITES: Final = {
    Route.PLAIN: RowWrite("foo", UNIT.deltas["foo"]),
    Route.INSERT: RowWrite("foo", UNIT.deltas["foo"], Route.INSERT, None, MARK),
    Route.FOLLOW: RowWrite("foo", UNIT.deltas["foo"], Route.FOLLOW, FOUND, MARK),
    Route.FRESH: RowWrite("foo", UNIT.deltas["foo"], Route.FRESH, None, MARK),
    Route.MARKED: RowWrite("foo", UNIT.deltas["foo"], Route.MARKED, FOUND, MARK),
    Route.TAKE_OVER: RowWrite("foo", UNIT.deltas["foo"], Route.TAKE_OVER, FOREIGN, MARK),
    Route.SHARED: RowWrite("foo", UNIT.deltas["foo"], Route.SHARED, FOREIGN, None),
    Route.CHECKED: RowWrite("foo", Delta(0, Decimal(0), ""), Route.CHECKED, FOUND, None),
}
"""A write of each route, as a worker makes it."""
WORKER_CALLS: Final[tuple[Call, ...]] = (
    *(WriteRows(lease(), (write,)) for write in ROW_WRITES.values() if write.route.single),
    *(Commit(lease(), UNIT, (write,), fills_gap=True) for write in ROW_WRITES.values() if not write.route.single),
    *(Commit(lease(), replace(UNIT, items=(write,)), (), fills_gap=False) for write in ITEM_WRITES),
    MoveCheckpoint(lease(), MOVE),
    shard_calls.EndShard(lease(), "3", ("shard-1",), (CHILD,)),
    *(shard_calls.Halt(lease(), "3", resumes, CREATED, SYMPTOM) for resumes in (0, 1)),
    shard_calls.RecordGap(lease(), "3", CREATED),
    ledger_calls.RecordLoss(CHILD.shard, CREATED),
    *(ledger_calls.Claim(row(owner=owner), lease()) for owner in (None, OTHER)),
    Release(lease()),
    *(ledger_calls.SendHeartbeat(ME, HeartbeatReport(1), joining, bump=True) for joining in (False, True)),
    ledger_calls.EvictMember(OTHER, 1),
    ledger_calls.Leave(ME),
    *(ledger_calls.RecordStreamStart(COMPLETE, before, CREATED, Rules()) for before in (None, ARN)),
    ledger_calls.CreateRootRows(ARN, (CHILD,)),
    ledger_calls.CompleteStreamStart(ARN),
    ledger_calls.UpgradeStream(ARN, keyed=True, rules=Rules()),
    *(ledger_calls.Adopt(Adoption(into, (CHILD,))) for into in (finished(0), finished(0, 2), COMPLETE, OLD)),
    ledger_calls.Mark(finished(0), CREATED),
    ledger_calls.Mark(UNLISTED, None),
    *(ledger_calls.Forget(UNLISTED, start) for start in (None, COMPLETE, OLD)),
    ledger_calls.Forget(finished(0, 2, unlisted_since=CREATED), None),
)
ENTRY = AuditEntry("me", CREATED, "action", "target")
ACTION = OperatorAction(QuarantineEntry("shard-0", "2", "reason", "pending", "foo", 1), "token", ENTRY)
GAP = Gap(ARN, "shard-0", "3", None, "possible", "")
BINDING = TableBinding(ARN, NAMES.leases, NAMES.leaderboard)
BINDING_CHANGES = (BindingChange(ARN, None, BINDING, True), BindingChange(ARN, BINDING, None, False))
PROGRESS = Progress(CHILD.shard, "board", Mode.RECOUNT, Range("1", "9"), "9", "1", "id", "runner", "me", CREATED)


def _execute(call: Call, client: Recorder) -> Reply:
    streams, leases = FakeStreams(lambda: CREATED, ARN), DynamoLeases(client, NAMES)
    return call.execute(Ports(streams, leases, DynamoMembership(client, NAMES), DynamoCommits(client, NAMES), Rules()))


def _operate(client: Recorder) -> Iterator[tuple[str, object]]:
    """Makes the operators' writes one after the other, each before it is yielded."""
    stop = Event()
    quarantine, replays = DynamoQuarantine(client, NAMES, stop), DynamoReplays(client, NAMES, stop)
    index_row = IndexRow("{}", RecordKey("shard-0", "2"), None)
    moved = replace(ACTION, item=ItemWrite("{}", FoundItem(index_row), index_row._replace(record=None)))
    stays = replace(
        ACTION, entry=replace(ACTION.entry, expires=True), item=ItemWrite("{}", FoundItem(index_row), index_row)
    )
    yield "`quarantine redrive`", quarantine.apply([Application(moved, {"foo": UNIT.deltas["foo"]}, {})])
    yield "`quarantine discard`", quarantine.discard([ACTION], "why")
    yield "`quarantine restore`", quarantine.restore([stays])
    for resumes in (0, 1):
        halted = replace(row(owner=ME), circuit=Circuit(halted_at=CREATED, resumes=resumes))
        accepted = AcceptedMark("foo", FOREIGN)
        yield "`resume`", DynamoCircuits(client, NAMES).resume(halted, None, "token", ENTRY, accepted)
    for before in (None, row(), row(owner=OTHER)):
        yield "`checkpoint set`", DynamoLeaseAdmin(client, NAMES).place(before, row(epoch=8), ENTRY)
    yield "`gaps acknowledge`", DynamoGaps(client, NAMES).acknowledge(GAP, "why", "token", ENTRY)
    yield "`init`", quarantine.update_old_rows()
    for change in BINDING_CHANGES:
        yield "`init --adopt`", DynamoTableBindings(client, NAMES).change_binding(change, ENTRY)
    seen = AcceptedRules((Rules(),))
    yield "`init --accept-rules`", DynamoRuleList(client, NAMES).accept(seen, Rules("user"), ENTRY)
    for progress in (None, PROGRESS):
        yield "`replay`, progress row", replays.put(progress, PROGRESS, ENTRY)
    yield "`replay`, a batch", replays.count(PROGRESS, Batch(UNIT, {"2": "pending"}, {}), frozenset())


def _sent() -> dict[str, tuple[set[str], str]]:
    """By write: what its requests require and change, over all that may be sent."""
    recorded: dict[str, tuple[set[str], str]] = defaultdict(lambda: (set(), ""))
    client = Recorder()
    worker_writes = ((f"`{type(call).__name__}`", _execute(call, client)) for call in WORKER_CALLS)
    for write, _ in chain(worker_writes, _operate(client)):
        conditions, changes = recorded[write]
        recorded[write] = conditions | client.conditions, changes + client.changes
        client.conditions, client.changes = set(), ""
    return recorded


@pytest.mark.parametrize("heading", [WORKER_WRITES, OPERATOR_WRITES])
def test_the_conditions_of_a_write_are_those_that_it_sends(heading: str) -> None:
    sent = _sent()
    listed: dict[str, set[str]] = defaultdict(set)
    for cells in _table(heading):
        for write in WRITE.findall(cells["write"]):
            listed[write].update(_code(cells["clause"]))
    for write, clauses in listed.items():
        conditions, changes = sent[write]
        changing = {clause for clause in clauses if clause.startswith("if_not_exists")}
        assert clauses - changing == conditions, write
        assert all(change in changes for change in changing), write


def _clauses(tree: ast.Module) -> Iterator[str]:
    """The clauses of all conditions, and some of changes: what texts have that are no docstrings."""
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            changes = node.value.lstrip().startswith(("SET ", "ADD ", "REMOVE ", ","))
            yield from () if changes else CLAUSE.findall(node.value)


def test_every_condition_of_the_code_is_in_the_document() -> None:
    files = [path for path in (ROOT / "consumer" / "aws").glob("*.py") if path.name not in ("wire.py", "direct.py")]
    sent = _sent().values()
    changes = {clause for _, changes in sent for clause in CLAUSE.findall(changes)}
    changes -= {clause for conditions, _ in sent for clause in conditions}
    written = {clause for path in files for clause in _clauses(ast.parse(path.read_text()))} - READS - changes
    assert len(written) > 20
    assert sorted(written - set(_column("clause", WORKER_WRITES, OPERATOR_WRITES))) == []


# --- marks ---

PARENT, CHILD_SHARD = str(row(8).shard), str(row(1).shard)
LINEAGE: Final = Lineage(
    {SHARD: PARENT, PARENT: None, CHILD_SHARD: SHARD, ANOTHER: None},
    finished=frozenset(),
    gone=frozenset({"label/gone"}),
)
ROWS_FOUND: Final[dict[str, tuple[StoredRow, Lineage]]] = {
    "no row": (ABSENT, LINEAGE),
    "a row without a mark": (StoredRow(), LINEAGE),
    "of this shard": (StoredRow(mark=FOUND), LINEAGE),
    "of an ancestor of this shard": (StoredRow(mark=Mark(PARENT, "1", CREATED)), LINEAGE),
    "of a descendant of this shard": (StoredRow(mark=Mark(CHILD_SHARD, "1", CREATED)), LINEAGE),
    "of another shard, finished": (StoredRow(mark=FOREIGN), LINEAGE._replace(finished=frozenset({ANOTHER}))),
    "of another shard, not finished": (StoredRow(mark=FOREIGN), LINEAGE),
    "of a shard that was not looked up yet": (StoredRow(mark=Mark("label/new", "1", CREATED)), LINEAGE),
    "of a shard that is gone, an hour older": (
        StoredRow(mark=Mark("label/gone", "1", CREATED - FORGOTTEN_SECONDS)),
        LINEAGE,
    ),
    "of a shard that is gone, younger": (
        StoredRow(mark=Mark("label/gone", "1", CREATED - FORGOTTEN_SECONDS + 1)),
        LINEAGE,
    ),
}
"""Row and lineage of each line of the table."""
DEALT_WITH_TO: Final = {"all": -1, "those after it": int(FOUND.to), "none": inf}
CHOSEN, ROUTES = _table("### What follows from the mark"), _table("### The routes")


@pytest.mark.parametrize("cells", [pytest.param(cells, id=cells["mark found"]) for cells in CHOSEN])
def test_a_mark_leads_to_the_route_of_its_line(cells: Row) -> None:
    found, lineage = ROWS_FOUND[cells["mark found"]]
    assert [route(found, SHARD, lineage, CREATED).value] == _code(cells["route"])
    assert [route(found, SHARD, lineage, CREATED, together=True).value] == _code(cells["with poison"])
    if found.mark is not None and route(found, SHARD, lineage, CREATED) is Route.UNKNOWN:
        halts = found.mark.shard in lineage.gone
        assert cells["what counts"] == ("none: the shard halts" if halts else "the shard is looked up first")
        return
    known = KnownRows(10)
    known.learn({"foo": found})
    known.lineage = lineage
    place = RowWrites(lease(), known, LinearBackoff(), 1).place_of("foo", CREATED)
    assert place.dealt_with_to == DEALT_WITH_TO[cells["what counts"]]


def test_every_mark_and_every_route_has_its_line() -> None:
    assert [cells["mark found"] for cells in CHOSEN] == list(ROWS_FOUND)
    assert _column("route", "### The routes") == [route.value for route in Route]
    chosen = {
        *_column("route", "### What follows from the mark"),
        *_column("with poison", "### What follows from the mark"),
    }
    assert chosen == {route.value for route in Route} - {Route.PLAIN.value, Route.CHECKED.value}


@pytest.mark.parametrize("cells", [pytest.param(cells, id=cells["route"].strip("`")) for cells in ROUTES])
def test_a_route_writes_as_its_line_says(cells: Row) -> None:
    (name,) = _code(cells["route"])
    write = ROW_WRITES.get(Route(name))
    assert _code(cells["written by"]) == ([] if write is None else ["WriteRows" if write.route.single else "Commit"])
    if write is None:
        return
    sent = [row_update("board", write), row_update("board", write._replace(found=None))]
    required = {clause for update in sent for clause in CLAUSE.findall(update.get("ConditionExpression", ""))}
    assert {clause for clause in required if "lastPlayedDate" not in clause} == set(_code(cells["the row must have"]))
    assert ("appliedTo = :to" in sent[0].get("UpdateExpression", "")) is (cells["its mark"] == "set")


# --- the shard machine ---

CONTESTED = row(owner=OTHER, epoch=8)
ELSEWHERE = row(owner=ME, checkpoint=game(40).sequence_number)
HALTED = Circuit(halted_at=CREATED)
SHARD_REPLIES: Final[dict[str, Reply]] = {
    "iterator": "second",
    "no such shard": CallFailed(FailureKind.MISSING, "no such shard"),
    "page": page(game(3)),
    "late page": page(game(3)),
    "empty page": page(),
    "last page": page(game(3), then=None),
    "expired iterator": IteratorExpired(),
    "trimmed": DataTrimmed(),
    "gap recorded": True,
    "gap known": False,
    "committed": Committed(),
    "lost: ours": Lost(row(owner=ME, checkpoint=game(2).sequence_number)),
    "lost: other owner": Lost(CONTESTED),
    "lost: no row": Lost(None),
    "lost: finished": Lost(row(owner=ME, checkpoint=SHARD_END)),
    "lost: elsewhere": Lost(ELSEWHERE),
    "lost: elsewhere, halted": Lost(replace(ELSEWHERE, circuit=HALTED)),
    "refused: later date": Refused(later={"foo": "2026-12-31"}),
    "refused: conflict": Refused(conflict=True),
    "refused: another mark": Refused(rows={"foo": StoredRow(mark=FOREIGN)}),
    "rows": {"foo": StoredRow(mark=FOUND)},
    "some of the rows": {"foo": StoredRow(mark=FOUND)},
    "refused: another index row": Refused(items=True),
    "items": {"foo": None, "bar": None},
    "some of the items": {"foo": None},
    "lineage": Lineage({SHARD: None}),
    "written": [Done(), Done()],
    "written, the last": [Done(), Done()],
    "some failed": [Done(), CallFailed(FailureKind.THROTTLED, "too fast")],
    "row refused: all is in it": [RowRefused(StoredRow(mark=Mark(SHARD, game(2).sequence_number, CREATED))), Done()],
    "row refused: another mark": [RowRefused(StoredRow(mark=FOREIGN)), Done()],
    "row refused: a later date": [RowRefused(StoredRow(mark=FOUND, date="2026-12-31")), Done()],
    "row refused: invalid": [Refused(invalid="no"), Done()],
    "moved": Committed(),
    "lost: moved before": Lost(row(owner=ME, checkpoint=game(2).sequence_number)),
    "refused: invalid": Refused(invalid="no"),
    "refused: invalid, alone": Refused(invalid="no"),
    "refused: row exists": Refused(existing=frozenset({"shard-1"})),
    "poison": poison(1),
    "no reason": Done(),
    "halted": Done(),
    "halted, resumed since": Done(),
    "children": Children(("shard-1",), leaf=False, served_at=CREATED),
    "no children, leaf": Children((), leaf=True, served_at=CREATED),
    "no children yet": Children((), leaf=False, served_at=CREATED),
    "released": Done(),
    "call failed": CallFailed(FailureKind.NETWORK, "no answer"),
}
RESUMED = replace(row(owner=ME), circuit=Circuit(resumes=1))


def _with_records(records: int = 2) -> ShardDriver:
    """A shard whose commit is in flight, and the read that follows."""
    driver = opened_shard()
    driver.answer(Read, page(*(game(number) for number in range(1, records + 1))))
    driver.start_due()
    driver.wait(1).start_due()
    return driver


def _ended() -> ShardDriver:
    """A shard that is read to its end, and committed."""
    driver = opened_shard()
    driver.answer(Read, page(game(1), then=None))
    driver.answer(Commit, Committed())
    return driver


def _keyed(found: Mark | None) -> ShardDriver:
    """A shard with marks, three players, whose rows have this mark; their rows are being read. Two go in one call."""
    driver = opened_shard(Tuning(wall_offset_seconds=CREATED, writes_per_call=2), keyed=True)
    driver.answer(Read, page(game(1), game(2), game(3, "bar"), game(4, "baz")))
    if found is not None:
        driver.answer(ReadRows, dict.fromkeys(("foo", "bar", "baz"), StoredRow(mark=found)))
    return driver


def _correcting() -> ShardDriver:
    """A shard on which corrections count, whose index rows are being read. Two items are removed."""
    driver = ShardDriver(row(owner=ME), Tuning(wall_offset_seconds=CREATED), corrects=True)
    driver.answer(shard_calls.Open, "first")
    driver.answer(Read, page(*(removal(number, item) for number, item in enumerate(("foo", "bar"), start=1))))
    return driver


def removal(number: int, item: str) -> Correction:
    """An item, of which a game is counted, is removed."""
    old, record = Image("foo", Decimal(1), ("2026-01-31", None)), game(number)
    return Correction(record.sequence_number, record.created, "foo", item, None, old, expired=False, wire=record.wire)


def _other_rows(driver: ShardDriver) -> WriteRows:
    """Takes the call for the third player's row."""
    writes = [sent for sent in driver.start_due() if isinstance(sent, WriteRows)]
    (other,) = (sent for sent in writes if sent.writes[0].player == "baz")
    driver.in_flight.remove(other)
    return other


def _with_call(call: str, reply: str) -> ShardDriver:
    """A shard that has this call in flight."""
    match call:
        case "ReadRows":
            driver = _keyed(None)
        case "ReadItems":
            driver = _correcting()
        case "WriteRows":
            driver = _keyed(FOUND)
        case "MoveCheckpoint":
            driver = opened_shard(keyed=True)
            driver.answer(Read, page(game(1), game(2)))
            driver.answer(ReadRows, {"foo": StoredRow(mark=FOUND)})
            driver.answer(WriteRows, [Done()])
        case "LookUpShard":
            driver = _keyed(FOREIGN)
        case "Commit" if reply == "refused: another mark":
            driver = _keyed(None)
            driver.answer(ReadRows, dict.fromkeys(("foo", "bar", "baz"), StoredRow()))
        case "Commit" if reply == "refused: another index row":
            driver = _correcting()
            driver.answer(ReadItems, {"foo": None, "bar": None})
        case "Open":
            driver = _with_records()
            driver.answer(Read, IteratorExpired())
        case "Read" | "Commit":
            driver = _with_records(1 if reply.endswith("alone") else 2)
        case "RecordGap" | "Release":
            driver = opened_shard()
            driver.answer(Read, DataTrimmed())
        case "Examine":
            driver = _with_records(1)
            driver.answer(Commit, Refused(invalid="no"))
        case "Halt":
            driver = ShardDriver(row(owner=ME), Tuning(wall_offset_seconds=CREATED, breaker=Breaker(1, 2)))
            driver.answer(shard_calls.Open, "first")
            driver.answer(Read, page(poison(1)))
        case _:
            driver = _ended()
            if call == "EndShard":
                driver.answer(shard_calls.FindChildren, SHARD_REPLIES["children"])
    driver.start_due()
    return driver


def _bring(driver: ShardDriver, state: str, call: str) -> None:
    """Brings the machine into this state while its call is in flight."""
    of_rows = call in _names(RowCall)
    if state == "draining" or call == "Release" or (state == "gone" and (call == "RecordGap" or of_rows)):
        driver.machine.drain()
        driver.start_due()
    if state == "gone" and call == "WriteRows":  # while draining, a unit that meets a failure is given up
        driver.deliver(_other_rows(driver), SHARD_REPLIES["call failed"])
    if state in ("halted", "gone"):
        others: dict[str, type[ShardCall]] = {"RecordGap": Release, "Release": shard_calls.RecordGap}
        other = Release if of_rows else others.get(call, Commit)
        lost = Lost(None if state == "halted" else CONTESTED)
        driver.answer(other, Done() if other is Release else lost)


IN_FLIGHT: Final = {cells["call"].strip("`"): _code(cells["in flight in"]) for cells in _table("### Calls")}


def _driven() -> Iterator[tuple[Row, str, str]]:
    """Row, call and state of every cell that names a state."""
    for cells in REPLIES:
        for call in _code(cells["call"]):
            yield from ((cells, call, state) for state in STATES if state in IN_FLIGHT[call])


@pytest.mark.parametrize(
    ("cells", "call", "state"),
    [pytest.param(*case, id=f"{case[1]}, {case[0]['reply']}, {case[2]}") for case in _driven()],
)
def test_a_reply_leads_to_the_state_of_its_cell(cells: Row, call: str, state: str) -> None:
    driver = _with_call(call, cells["reply"])
    _bring(driver, state, call)
    if cells["reply"] == "written, the last" and state != "gone":
        driver.deliver(_other_rows(driver), [Done()])
    sent = next(sent for sent in driver.in_flight if type(sent) is CALLS[call])
    assert driver.machine.state == state
    if cells["reply"] == "late page":
        sent = replace(cast(Read, sent), after="another position")
    if cells["reply"] == "halted, resumed since":
        driver.machine.resume(RESUMED)
    reported = driver.deliver(sent, SHARD_REPLIES[cells["reply"]])
    assert [driver.machine.state.value] == _code(cells[state])
    assert kinds(reported) == ([] if state in ("halted", "gone") else _code(cells["reported"]))


def test_every_case_has_its_row_and_a_row_names_states_where_its_calls_can_be_in_flight() -> None:
    assert {cells["reply"] for cells in REPLIES} == SHARD_REPLIES.keys()
    assert {cells["event"] for cells in OTHER_EVENTS} == EVENTS.keys()
    assert {(_code(cells["call"])[0], cells["reply"]) for cells in STEPS} == START_REPLIES.keys()
    for cells in REPLIES:
        possible = {state for call in _code(cells["call"]) for state in IN_FLIGHT[call]}
        assert {state for state in STATES if cells[state] != NOTHING} == possible, cells["reply"]


def _in_state(state: str, *, row_missing: bool) -> ShardDriver:
    if state == "halted" and not row_missing:
        return ShardDriver(replace(row(owner=ME), circuit=HALTED))
    driver = _with_call("FindChildren" if state == "ending" else "Commit", "")
    _bring(driver, state, "Commit")
    return driver


def _commit_all(driver: ShardDriver) -> None:
    driver.answer(Read, page(then=None))
    driver.answer(Commit, Committed())
    assert driver.has_call(shard_calls.FindChildren)


def _lose_heartbeat(driver: ShardDriver) -> None:
    writes = (Commit, shard_calls.Examine, shard_calls.Halt, shard_calls.FindChildren, shard_calls.EndShard, Release)
    before = [call for call in driver.in_flight if isinstance(call, writes)]
    driver.may_commit = False
    assert [call for call in driver.wait(1).start_due() if isinstance(call, writes)] == before


def _wait_for_locks(driver: ShardDriver) -> None:
    commit = driver.call(Commit)
    assert driver.machine.grow(commit, {"another"}, driver.now).unit.previous == commit.unit.previous


EVENTS: Final[dict[str, Callable[[ShardDriver], object]]] = {
    "all committed, no more records": _commit_all,
    "drain: hand-over or SIGTERM": lambda driver: driver.machine.drain(),
    "drain, row missing": lambda driver: driver.machine.drain(),
    "resume: a ledger read shows more resumes": lambda driver: driver.machine.resume(RESUMED),
    "resume, row missing": lambda driver: driver.machine.resume(RESUMED),
    "a listing shows children": lambda driver: driver.machine.on_listing(build_shards(2, {0: 1}), driver.now),
    "a listing comes in, or the stream is gone": lambda driver: driver.machine.on_listing(None, driver.now),
    "no heartbeat written for a TTL": _lose_heartbeat,
    "a lock of the unit's players is held": _wait_for_locks,
}


@pytest.mark.parametrize(
    ("event", "state", "then"),
    [
        pytest.param(cells["event"], state, cells[state].strip("`"), id=f"{cells['event']}, {state}")
        for cells in OTHER_EVENTS
        for state in STATES
        if cells[state] != NOTHING
    ],
)
def test_an_event_leads_to_the_state_of_its_cell(event: str, state: str, then: str) -> None:
    driver = _in_state(state, row_missing=event.endswith("row missing"))
    assert driver.machine.state == state
    EVENTS[event](driver)
    assert driver.machine.state == then


# --- the start of a stream ---

START = StreamStart(ARN, None, ("shard-0", "shard-1"), complete=False)
OLD_START = replace(START, complete=True, protocol=1)
UNKNOWN = Origin(None, None)
KNOWN = Origin(START, BINDING, accepted=AcceptedRules((Rules(),)))
LISTING = build_shards(2, {})
ORPHANS = StreamListing(ARN, True, (ListedShard("shard-1", "shard-0"), ListedShard("shard-3", "shard-2")), CREATED)
START_REPLIES: Final[dict[tuple[str, str], tuple[Reply, ...]]] = {
    ("ReadOrigin", "nothing known, or incomplete"): (UNKNOWN,),
    ("ReadOrigin", "complete"): (replace(KNOWN, stream_start=replace(START, complete=True)),),
    ("ReadOrigin", "one without the other"): (Origin(None, BINDING),),
    ("ReadOrigin", "another source"): (replace(UNKNOWN, source_tables=frozenset({"arn:another"})),),
    ("ListShards", "no row, parents unlisted"): (UNKNOWN, ORPHANS),
    ("ListShards", "no row, all listed"): (UNKNOWN, LISTING),
    ("ListShards", "no row, no new images"): (UNKNOWN, replace(LISTING, view="KEYS_ONLY")),
    ("ReadOrigin", "complete, of version 0.1"): (replace(KNOWN, stream_start=OLD_START),),
    ("ListShards", "row is there"): (KNOWN, LISTING),
    ("ListShards", "row of version 0.1"): (replace(KNOWN, stream_start=OLD_START), LISTING),
    ("UpgradeStream", "done"): (replace(KNOWN, stream_start=OLD_START), LISTING, Done()),
    ("UpgradeStream", "lost"): (replace(KNOWN, stream_start=OLD_START), LISTING, Lost(None)),
    ("ReadOrigin", "other rules are accepted"): (replace(KNOWN, accepted=AcceptedRules((Rules("user"),))),),
    ("ReadOrigin", "complete, no rules yet"): (Origin(replace(START, complete=True), BINDING),),
    ("ListShards", "no rules yet"): (Origin(START, BINDING), LISTING),
    ("Probe", "more parents unlisted"): (UNKNOWN, ORPHANS, True),
    ("Probe", "the last parent"): (UNKNOWN, ORPHANS, True, False),
    ("RecordStreamStart", "done"): (UNKNOWN, LISTING, Done()),
    ("RecordStreamStart", "lost"): (UNKNOWN, LISTING, Lost(None)),
    ("CreateRootRows", "done"): (UNKNOWN, LISTING, Done(), Done()),
    ("CreateRootRows", "refused: row exists"): (UNKNOWN, LISTING, Done(), Refused(existing=frozenset({"shard-0"}))),
    ("CreateRootRows", "lost"): (UNKNOWN, LISTING, Done(), Lost(None)),
    ("CompleteStreamStart", "done"): (UNKNOWN, LISTING, Done(), Done(), Done()),
}
"""By call and reply: the replies from the beginning, with this one at the end."""
STEP_OF: Final = {_code(cells["call"])[0]: _code(cells["step"])[0] for cells in STEPS}


def _now_at(starter: StreamStarter) -> str:
    return "done" if starter.complete else STEP_OF[type(starter.next_call()).__name__]


@pytest.mark.parametrize(
    "cells", [pytest.param(cells, id=f"{cells['call'].strip('`')}, {cells['reply']}") for cells in STEPS]
)
def test_a_reply_leads_to_the_step_of_its_row(cells: Row) -> None:
    (call,) = _code(cells["call"])
    *before, reply = START_REPLIES[call, cells["reply"]]
    starter = StreamStarter(ARN, TRIM_HORIZON, 1, NAMES)
    for earlier in before:
        starter.take(starter.next_call(), earlier)
    assert (type(starter.next_call()).__name__, _now_at(starter)) == (call, cells["step"].strip("`"))
    if cells["next step"] == "refused":
        with pytest.raises(ConsumerError):
            starter.take(starter.next_call(), reply)
        return
    starter.take(starter.next_call(), reply)
    assert _now_at(starter) == cells["next step"].strip("`")
