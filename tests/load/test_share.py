"""Which of a load's requests one load process sends."""

from heapq import merge
from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from bench import arrivals
from bench.arrivals import Poisson, Rate
from bench.load.share import Share
from bench.testing import make_workload


@given(st.integers(1, 7), st.integers(0, 2**32))
def test_all_workers_together_send_the_one_schedule(workers: int, seed: int) -> None:
    """Each send once, under the number that it has in the whole, at its time."""
    made = make_workload(load=Poisson(rate_hz=Rate(100)), seed=seed)
    shares = [islice(Share(worker, workers).schedule(made), 30) for worker in range(workers)]
    whole = list(enumerate(islice(arrivals.offsets_ns(made.load, seed), 30)))  # type: ignore[arg-type]
    assert list(islice(merge(*shares), 30)) == whole


@given(st.integers(1, 7))
def test_no_two_users_of_a_closed_loop_send_the_same_number(workers: int) -> None:
    """The numbers of all workers together are 0, 1, 2, ..."""
    numbers = [n for worker in range(workers) for n in islice(Share(worker, workers).numbers(), 10)]
    assert sorted(numbers) == list(range(10 * workers))
