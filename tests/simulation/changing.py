"""What a changing run has besides: days that pass, workers of several rules, and rules that are accepted.

Its wall clocks jump by hours, days and weeks, over a change of the clocks and the end of a month or year. Between the
jumps the product's seconds pass as in every run. Each start of a worker draws its rules.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from consumer.domain import planner
from consumer.domain.accepted_rules import AcceptedRules
from consumer.domain.leases import Lease, Shard
from consumer.domain.records import Rules
from consumer.domain.timestamps import TimestampFormat, looks_like_timestamp, parse_timestamp
from consumer.domain.windows import DAY_SECONDS, Kept, WindowKind
from consumer.worker.calls import Call
from consumer.worker.ledger_calls import Adopt, Claim, CreateRootRows, Mark, RecordStreamStart
from tests.simulation.dice import PlannedEvents
from tests.simulation.keyed import BIG, PLAYER_ATTRIBUTE, PLAYERS
from tests.simulation.ledger_invariants import Violation
from tests.simulation.rule_invariants import RuleInvariants, number_of
from tests.simulation.scale import EPOCH_SECONDS, FAULT_SECONDS, REFUSED_SECONDS
from tests.simulation.window_invariants import WindowInvariants, first_day

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation
    from tests.simulation.worker import SimulatedWorker

ZONES: Final = (
    "UTC",
    "America/Los_Angeles",
    "Pacific/Kiritimati",
    "Europe/Berlin",
    "Australia/Lord_Howe",
    "Etc/GMT+12",
)
BEGINNINGS: Final = (date(2027, 3, 8), date(2027, 3, 22), date(2027, 10, 18), date(2027, 12, 18))
"""Soon after each of them the clocks are changed somewhere, or a year ends. They are later than EPOCH_SECONDS."""
HOUR_SECONDS: Final = 3_600
MOST_JUMPS: Final = 14
WAITS_SECONDS: Final = 0.4
"""A jump that is not possible yet is tried again so much later."""
CHECK_SECONDS: Final = 0.5
SOON: Final = (Claim, Adopt, Mark, RecordStreamStart, CreateRootRows)
"""Calls that take effect soon, or never: not a day later."""
LONG_SECONDS: Final = 100 * DAY_SECONDS
LAST: Final = "last"
"""The name of the worker that reads what has waited."""
OTHER_FORMATS: Final = (TimestampFormat.EPOCH_SECONDS, TimestampFormat.EPOCH_MILLISECONDS)
SETS: Final = "ABC"
"""The names of the rules; a number in the ledger is a place in the list of accepted ones."""


class Changing(PlannedEvents):
    """The changing flavour of a run, keyed or not. `rules` are all that a worker may have, by name."""

    def __init__(self, simulation: Simulation) -> None:
        super().__init__(simulation, simulation.dice.source("changing"))
        random = self._plans = self.random
        self._zone = ZoneInfo(random.choice(ZONES))
        self.rules = {name: self._draw_rules() for name in SETS}
        formats = simulation.dice.source("formats")
        if formats.random() < 0.25:
            name, other = formats.choice(SETS), formats.choice(OTHER_FORMATS)
            self.rules[name] = replace(self.rules[name], timestamp_attribute=f"at_{other}", timestamp_format=other)
        self._first = self.rules[random.choice(SETS)]
        self._drawn: dict[str, Rules] = {}
        self._trusted: set[str] = set()
        """Workers whose rules were accepted when they started."""
        self._may_start: tuple[Rules, ...] = ()
        self._last: dict[str, str] = {}
        self._late_dates = random.choice((0.05, 0.3))
        self.windows: WindowInvariants
        self.numbers: RuleInvariants
        self._claiming: dict[str, set[Lease]] = {}
        self._held_until = 0.0
        begins = random.choice(BEGINNINGS)
        start = (
            datetime(begins.year, begins.month, begins.day, tzinfo=UTC).timestamp() + random.random() * 8 * DAY_SECONDS
        )
        self.jumped = float(int(start - EPOCH_SECONDS))
        """How far the wall clocks are ahead of the simulation's time."""

    def _draw_rules(self) -> Rules:
        random = self._plans
        kept: Kept = tuple(
            (kind, random.randint(1, 3))
            for kind, share in zip(WindowKind, (0.85, 0.5, 0.5), strict=True)
            if random.random() < share
        )
        return Rules(
            score_attribute=random.choice(("score", "score", "points")),
            max_future_seconds=random.choice((DAY_SECONDS, DAY_SECONDS, DAY_SECONDS / 2)),
            windows=kept,
            time_zone=self._zone.key,
        )

    def watch(self) -> None:
        """All other invariants are there: these join them."""
        simulation = self._simulation
        self.windows = WindowInvariants(
            simulation.ledger_invariants, simulation.tables, self._zone, simulation.unix_now
        )
        self.numbers = RuleInvariants(
            simulation.ledger_invariants, simulation.tables, self.rules_of, simulation.operators
        )
        simulation.ledger_invariants.waiting = self.waiting

    def plan(self) -> None:
        """Plans the jumps of the clocks."""
        random = self._plans
        for _ in range(random.randint(3, MOST_JUMPS)):
            seconds = random.choice((HOUR_SECONDS, 8 * HOUR_SECONDS, DAY_SECONDS, 3 * DAY_SECONDS, 12 * DAY_SECONDS))
            by = int(random.uniform(0.3, 1.5) * seconds)
            at = random.uniform(2, FAULT_SECONDS)
            self.plan_event("changing jump", at, lambda by=by: self._jump(by))  # type: ignore[misc]
        for _ in range(random.choice((0, 1, 2, 3, 4))):
            at = random.uniform(3, FAULT_SECONDS - 6)
            for number in range(1 + (random.random() < 0.3)):
                rules = random.choice(list(self.rules.values()))
                self._simulation.operators.plan_accept(f"op{number} accept", rules, at + 0.1 * number)
        if random.random() < 0.25:
            self._simulation.interventions.plan_deletion(random.uniform(6, FAULT_SECONDS - 8))
        self._check_on()

    def _check_on(self) -> None:
        self.windows.check_all()
        if self._simulation.now < FAULT_SECONDS:
            self._simulation.at(self._simulation.now + CHECK_SECONDS, self._check_on)

    # --- the clocks ---

    def _jump(self, seconds: int) -> None:
        """The wall clocks jump; later, while something is in flight that takes seconds and would now take days."""
        simulation = self._simulation
        if simulation.now > FAULT_SECONDS:
            return
        if not self._may_jump():
            simulation.at(simulation.now + WAITS_SECONDS, lambda: self._jump(seconds))
            return
        happened, before, offset = simulation.happened, self._day(), self._offset()
        self.windows.check_all()
        self._pass(seconds)
        self.windows.check_all()
        today = self._day()
        happened["days begin"] += (today - before).days
        happened["weeks begin"] += (first_day(WindowKind.WEEK, today) - first_day(WindowKind.WEEK, before)).days // 7
        happened["months begin"] += 12 * (today.year - before.year) + today.month - before.month
        happened["clocks change"] += self._offset() != offset

    def _pass(self, seconds: int) -> None:
        self.jumped += seconds
        for worker in self._simulation.workers:
            worker.jump()
        self._simulation.note("outside", f"{seconds / DAY_SECONDS:.2f} days pass; it is {self._day()}")

    def _may_jump(self) -> bool:
        """No claim and no new row is in flight, no shard is being looked for, no worker has a lease that it lost."""
        simulation = self._simulation
        living = {worker.owner: worker for worker in simulation.workers if worker.alive}
        claims = any(leases for owner, leases in self._claiming.items() if owner in living)
        held = simulation.now < self._held_until
        searched = any(simulation.now - since <= REFUSED_SECONDS for since in simulation.refused_since.values())
        return not (claims or held or searched or any(map(self._is_zombie, living.values())))

    def _is_zombie(self, worker: SimulatedWorker) -> bool:
        rows = self._simulation.tables.rows
        return any(
            (row := rows.get(shard)) is None or (row.owner, row.epoch) != machine.lease[1:]
            for shard, machine in worker.worker.shards.items()
        )

    def _offset(self) -> timedelta | None:
        return datetime.fromtimestamp(self._simulation.unix_now(), self._zone).utcoffset()

    def _day(self) -> date:
        return datetime.fromtimestamp(self._simulation.unix_now(), self._zone).date()

    def sends(self, owner: str, call: Call, latest: float) -> None:
        """A worker sends a call, which may take effect until `latest`. A claim is sent again until it has a reply."""
        if isinstance(call, Claim):
            self._claiming.setdefault(owner, set()).add(call.lease)
        if isinstance(call, SOON):
            self.hold(latest)

    def answered(self, owner: str, call: Call) -> None:
        """A call has got a definite reply."""
        if isinstance(call, Claim):
            self._claiming.setdefault(owner, set()).discard(call.lease)

    def hold(self, until: float) -> None:
        """Until then no day passes: something may take effect that takes no days."""
        self._held_until = max(self._held_until, until)

    # --- records ---

    def image(self, image: dict[str, Any]) -> dict[str, Any]:
        """The image as a game of these days: late, on time or up to a day ahead; with a moment, or a bare date."""
        simulation = self._simulation
        random = simulation.dice.source(f"dates {simulation.now:.6f}")
        timestamp = image["timestamp"]
        if timestamp["S"][:1].isdigit():
            timestamp = {"S": self._timestamp(random.random(), random)}
        score = image["score"]
        points = {"N": f"{score['N']}1" if "." in score["N"] else score["N"]} if "N" in score else score
        if "N" not in score and random.random() < 0.5:
            points = {"N": "7"}
        return image | {"timestamp": timestamp, "points": points} | _in_other_formats(timestamp)

    def _timestamp(self, chance: float, random: Any) -> str:
        now = int(self._simulation.unix_now())
        if chance < 0.4:
            today = self._day()
            days = [day for back in range(-3, 3) if _midnight(day := today + timedelta(back)) <= now + DAY_SECONDS]
            return str(random.choice(days + days[-1:])).partition(" ")[0]
        if chance < 0.6:
            at = now + random.uniform(-HOUR_SECONDS, 0)
        elif chance < 0.8:
            at = now + random.uniform(0, DAY_SECONDS)
        else:
            at = now - random.uniform(0, (40 if random.random() < self._late_dates else 3) * DAY_SECONDS)
        zone = random.choice((UTC, self._zone))
        moment = datetime.fromtimestamp(int(at), zone).isoformat()
        return moment.replace("+00:00", random.choice(("Z", "", "+00:00")))

    # --- the last games ---

    def play_last(self) -> None:
        """Long after all the others each player has a game: nothing older is left in the rows then."""
        simulation = self._simulation
        self.windows.check_all()
        self._pass(LONG_SECONDS)
        left = set(PLAYERS) - {BIG}
        for shard in [shard for shard in simulation.streams.shards.values() if not shard.closed]:
            name = Shard(simulation.streams.arn, shard.shard_id)
            players = left if simulation.keyed is None else left.intersection(simulation.keyed.players_of(name))
            for player in sorted(players):
                now = datetime.fromtimestamp(int(simulation.unix_now()), UTC).isoformat()
                image = {"playerId": {"S": player}, "timestamp": {"S": now}, "score": {"N": "1"}, "points": {"N": "2"}}
                image |= _in_other_formats(image["timestamp"])
                number = simulation.streams.write(
                    shard.shard_id, image, "INSERT", {PLAYER_ATTRIBUTE: image["playerId"]}
                )
                self._last[player] = number
            left -= players
        simulation.ledger_invariants.more_was_written()

    def check_last(self) -> None:
        """The rows have what the rules keep by which the last games were read, and nothing else.

        A worker that keeps no windows looks at a row only once: what others have added since stays, until it forgets
        the row.
        """
        for player, number in self._last.items():
            rules = self.numbers.read_by[int(number)]
            if rules.windows:
                self.windows.check_kept(player, rules.windows)
                self._simulation.happened["rows without expired windows"] += 1
        self.windows.check_all()
        happened = self._simulation.happened
        happened["windows compared"] += self.windows.compared
        happened["windows incomplete"] += self.windows.incomplete
        happened["numbers rise"] += self.numbers.rises
        happened["records by zombies"] += self.numbers.by_zombies

    # --- workers and their rules ---

    def rules_of(self, owner: str) -> Rules:
        """The rules by which this worker reads: those of its start, which may not be accepted."""
        if owner not in self._drawn:
            random = self._simulation.dice.source(f"rules of {owner}")
            chance, accepted = random.random(), self._may_start or self._accepted().entries
            some = random.choice(list(self.rules.values()))
            if owner.startswith(LAST):
                self._drawn[owner] = self._accepted().entries[-1]
            elif not accepted:
                self._drawn[owner] = self._first if chance < 0.7 else some
            elif self._simulation.now < FAULT_SECONDS and chance < 0.15:
                self._drawn[owner] = some
            else:
                self._drawn[owner] = accepted[-1] if chance < 0.45 else random.choice(accepted)
            if self._drawn[owner] in self._accepted().entries:
                self._trusted.add(owner)
        return self._drawn[owner]

    def refused(self, worker: SimulatedWorker) -> None:
        """A worker has stopped at its start, as its rules are not accepted. It is started again with others."""
        simulation = self._simulation
        if worker.owner in self._trusted:
            raise Violation("accepted rules are not refused", f"{worker.owner} does not run")
        simulation.happened["rules are refused"] += 1
        after = worker.random.uniform(0.5, 4)
        simulation.at(simulation.now + after, lambda: simulation.start_again(worker.name))

    def waiting(self) -> frozenset[Shard]:
        """Shards that no living worker may read: its rules are older than theirs."""
        simulation, accepted = self._simulation, self._accepted()
        living = [worker for worker in simulation.workers if worker.alive]
        highest = max((number_of(accepted, worker.rules) for worker in living), default=0)
        rows = simulation.tables.rows.values()
        return frozenset(row.shard for row in rows if not row.finished and row.rules > highest)

    def check_shown(self, waiting: frozenset[Shard]) -> None:
        """What waits is what `status` shows as waiting: it goes by the heartbeats of the living."""
        simulation = self._simulation
        members = simulation.tables.workers
        numbers = [members[each.owner].rules for each in simulation.workers if each.alive and each.owner in members]
        shown = frozenset(row.shard for row in planner.waiting(simulation.tables.rows.values(), numbers))
        if shown != waiting:
            raise Violation("what waits is shown", f"{sorted(shown)}, not {sorted(waiting)}")

    def heal(self) -> None:
        """No rules are accepted any more. In some runs all workers of the newest ones end, and none is started soon."""
        simulation, accepted = self._simulation, self._accepted()
        if simulation.keyed is not None:
            simulation.keyed.calm()
        self._may_start = accepted.entries
        living = [worker for worker in simulation.workers if worker.alive]
        numbers = sorted({number_of(accepted, worker.rules) for worker in living})
        if len(numbers) > 1 and self.random.random() < 0.5 and simulation.dice.takes_place("only old rules are left"):
            self._may_start = accepted.entries[numbers[-2] - 1 : numbers[-2]]
            for worker in living:
                if number_of(accepted, worker.rules) == numbers[-1]:
                    worker.alive = False
                    simulation.note(worker.owner, "!! ends")

    def _accepted(self) -> AcceptedRules:
        return self._simulation.tables.accepted

    def operators_clock(self, command: str) -> float:
        """Unix seconds, by a clock that is nearly a day off in some commands."""
        off = self._simulation.dice.source(f"clock of {command}").choice((0.0, 0.0, -0.9, 0.9))
        return self._simulation.unix_now() + off * DAY_SECONDS

    def operators_rules(self) -> Sequence[Rules]:
        """Those that an operator's command reads records by: the ones accepted last, with the most windows of all."""
        entries = self._accepted().entries
        known = [AcceptedRules(entries[:number]).for_operators for number in range(1, len(entries) + 1)]
        return [rules for rules in known if rules is not None] or [self._first]

    def acts(self, call: Call) -> None:
        """A call of a worker takes effect: what it writes was read by its rules."""
        lease = getattr(call, "lease", None)
        if isinstance(lease, Lease):
            records = self._simulation.ledger_invariants.records
            records.rules = records.lenient = self.rules_of(lease.owner)
            self.numbers.writer = lease


def _in_other_formats(timestamp: dict[str, str]) -> dict[str, dict[str, str]]:
    """The timestamp as numbers, as far as it is one."""
    text = timestamp.get("S", "")
    if not looks_like_timestamp(text):
        return {f"at_{each}": timestamp for each in OTHER_FORMATS}
    seconds = int(parse_timestamp(text)[0])
    in_seconds, in_milliseconds = (f"at_{each}" for each in OTHER_FORMATS)
    return {in_seconds: {"N": str(seconds)}, in_milliseconds: {"N": f"{seconds}250"}}


def _midnight(day: date) -> float:
    return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()
