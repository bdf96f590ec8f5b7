"""Whose each request of a mix is, and whose turn it is."""

import math
from collections import Counter
from collections.abc import Iterable
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from bench import mix
from bench.testing import make_mix, make_workload
from bench.workload import Payload, Workload
from bench.workload_checks import FINEST

WEIGHTS = st.one_of(st.integers(1, 20).map(float), st.sampled_from([0.1, 0.3, 1 / 3, 0.7, 2.5, 99.0]), st.floats(0.1, 100.0))
PARTS = st.lists(st.tuples(WEIGHTS, st.integers(1, 40)), min_size=2, max_size=5)
SEEDS = st.integers(0, 2**32)


def mixed(parts: list[tuple[float, int]], seed: int = 1) -> Workload:
    """A mix of parts (weight, distinct requests)."""
    return make_mix({f"part {n}": part for n, part in enumerate(parts)}, seed=seed)


def order(workload: Workload, numbers: Iterable[int]) -> list[int]:
    """The part of each of the sends with these numbers."""
    turns, row = mix.turns(workload), mix.starts(workload)
    owner = [part for part, (start, end) in enumerate(pairwise(row)) for _ in range(start, end)]
    return [owner[turns[n % len(turns)]] for n in numbers]


def period(workload: Workload) -> int:
    turns = mix.turns(workload)
    assert isinstance(turns, mix.Mixed)
    return len(turns.order)


def test_the_requests_of_all_parts_stand_in_a_row() -> None:
    """Part after part, as records number them; of one model they are its own."""
    assert mix.starts(mixed([(1, 3), (2, 5), (1, 2)])) == [0, 3, 8, 10]
    assert mix.starts(make_workload()) == [0, 4]


def test_a_workload_of_one_model_sends_its_requests_one_after_another() -> None:
    """As it always did."""
    assert list(mix.turns(make_workload())) == [0, 1, 2, 3]  # type: ignore[call-overload]
    assert mix.shares(make_workload()) == [1.0]


def test_each_round_of_an_experiment_sends_the_same_requests_in_an_order_of_its_own() -> None:
    """Every request once, in another order, and the same order wherever it is asked for."""
    workload = make_workload(payload=Payload(inputs=make_workload().payload.inputs, distinct=50))
    orders = [tuple(mix.turns(replace(workload, round=n))) for n in (0, 1, 2, 1)]  # type: ignore[arg-type]
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert orders[0] == tuple(range(50))
    assert orders[1] == orders[3]
    assert len(set(orders)) == 3


def test_each_round_of_a_mix_has_its_parts_in_an_order_of_its_own() -> None:
    """Three to one, shuffled anew."""
    plain = mixed([(3, 5), (1, 5)])
    orders = [tuple(order(replace(plain, round=n), range(period(plain)))) for n in (0, 1, 2)]
    assert len(set(orders)) == 3


@given(PARTS, SEEDS, st.integers(1, 20))
@settings(max_examples=20)
def test_a_round_of_a_mix_has_all_its_shares_and_requests_in_an_order_of_its_own(
    parts: list[tuple[float, int]], seed: int, number: int
) -> None:
    """Of each part the shares of a period are the same, and its requests come equally often."""
    plain, shuffled = mixed(parts, seed), replace(mixed(parts, seed), round=number)
    length = period(plain)
    assert Counter(order(shuffled, range(length))) == Counter(order(plain, range(length)))
    turns = mix.turns(shuffled)
    if len(turns) < 100_000:
        sent = Counter(turns[n] for n in range(len(turns)))
        for start, end in pairwise(mix.starts(plain)):
            assert len({sent[n] for n in range(start, end)}) == 1


@given(PARTS, SEEDS)
@settings(max_examples=40)
def test_within_a_period_every_part_has_the_share_of_its_weight(parts: list[tuple[float, int]], seed: int) -> None:
    """Exactly, where whole numbers of a sum of 10,000 can say it; else as nearly as they can, which is by one of them."""
    workload = mixed(parts, seed)
    length = period(workload)
    counts = Counter(order(workload, range(length)))
    total = sum(Fraction(repr(weight)) for weight, _ in parts)
    exact = [Fraction(repr(weight)) / total for weight, _ in parts]
    off = [abs(Fraction(counts[n], length) - share) for n, share in enumerate(exact)]
    assert max(off) < Fraction(1, FINEST)
    if math.lcm(*(share.denominator for share in exact)) <= FINEST:
        assert max(off) == 0


@given(PARTS, SEEDS, st.integers(1, 15_000))
@settings(max_examples=40)
def test_a_part_goes_through_its_requests_evenly(parts: list[tuple[float, int]], seed: int, count: int) -> None:
    """At no time is one ahead of another by more than one send, and each comes in turn."""
    workload = mixed(parts, seed)
    turns, row = mix.turns(workload), mix.starts(workload)
    sent = Counter(turns[n % len(turns)] for n in range(count))
    assert sent.total() == count
    assert set(sent) <= set(range(row[-1]))
    for start, end in pairwise(row):
        times = [sent[request] for request in range(start, end)]
        assert max(times) - min(times) <= 1
        assert times == sorted(times, reverse=True)


@given(st.lists(st.tuples(st.integers(1, 5).map(float), st.integers(1, 9)), min_size=2, max_size=4), SEEDS)
@settings(max_examples=15)
def test_the_turns_come_round_again_where_they_say(parts: list[tuple[float, int]], seed: int) -> None:
    """So that the number of a send modulo their length stands for the same request."""
    turns = mix.turns(mixed(parts, seed))
    length = len(turns)
    assert [turns[n] for n in range(200)] == [turns[n + length] for n in range(200)]


@given(PARTS, SEEDS, st.integers(2, 16), st.data())
@settings(max_examples=40)
def test_a_process_that_makes_every_nth_send_gets_every_part_in_proportion(
    parts: list[tuple[float, int]], seed: int, workers: int, data: st.DataObject
) -> None:
    """Whichever of them it is: within six standard deviations of a draw, which a strict order would be far outside of."""
    workload = mixed(parts, seed)
    worker = data.draw(st.integers(0, workers - 1))
    length = period(workload)
    mine = order(workload, range(worker, workers * length, workers))
    seen = length // math.gcd(workers, length)  # places of the period that it ever comes to
    counts = Counter(mine)
    for n, share in enumerate(mix.shares(workload)):
        assert abs(counts[n] / len(mine) - share) <= 6 * math.sqrt(share * (1 - share) / seen) + 1 / FINEST


@given(st.lists(st.tuples(st.integers(1, 4).map(float), st.integers(1, 9)), min_size=2, max_size=4), SEEDS)
@settings(max_examples=40)
def test_the_order_is_shuffled(parts: list[tuple[float, int]], seed: int) -> None:
    """Every part follows every part, itself too, and no 200 sends are without one: neither blocks nor an alternation."""
    found = order(mixed(parts, seed), range(4096))
    assert set(pairwise(found)) == {(a, b) for a in range(len(parts)) for b in range(len(parts))}
    assert all(len(set(found[at : at + 200])) == len(parts) for at in range(0, 3800, 50))


def test_the_order_hangs_on_the_seed_and_on_nothing_else() -> None:
    """Every load process makes the same; bits are drawn as numpy promises them, so that every version does."""
    parts = [(3.0, 4), (1.0, 3)]
    some = range(500)
    assert order(mixed(parts), some) == order(mixed(parts), some)
    assert order(mixed(parts), some) != order(mixed(parts, seed=2), some)
    turns = mix.turns(mixed(parts))
    assert [turns[n] for n in range(24)] == [0, 1, 4, 2, 3, 0, 1, 2, 3, 0, 5, 1, 2, 6, 3, 4, 0, 1, 2, 5, 6, 3, 4, 0]


@pytest.mark.parametrize(
    ("weights", "numbers"),
    [
        ((1, 1), [1, 1]),
        ((3, 1), [3, 1]),
        ((0.7, 0.3), [7, 3]),
        ((30, 20, 50), [3, 2, 5]),
        ((0.333, 0.667), [333, 667]),
        ((1e-3, 1.0), [1, 1000]),
        ((0.33333, 0.66667), [3333, 6667]),
        ((1.00001, 1, 1), [3334, 3333, 3333]),
    ],
)
def test_weights_become_whole_numbers(weights: tuple[float, ...], numbers: list[int]) -> None:
    """The smallest in their proportion, decimals as they are written; the nearest of a sum of 10,000 where those are larger."""
    assert mix.whole(weights) == numbers
