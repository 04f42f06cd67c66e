"""The microbenchmark runs the real code; its speed is not tested."""

from tests.performance.bench import micro


def test_units_hold_each_game_of_a_page_once() -> None:
    entries = micro.decoded(micro.page(seed=1))
    units = micro.folded(entries)
    assert sum(delta.games for unit in units for delta in unit.deltas.values()) == len(entries) == micro.RECORDS
    assert micro.page(seed=1) != micro.page(seed=2)


def test_all_steps_are_multiples_of_the_floor() -> None:
    floor, *steps = micro.micro(rounds=1)
    assert floor.value > 0
    assert [step.unit for step in steps] == ["floors"] * 5
