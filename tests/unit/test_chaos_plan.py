"""The dice of tests/cluster/chaos: what a seed says stays so, and a sample fits into the time that it is given."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.cluster.chaos.plan import KINDS, STRIKES, TASKS, chance_of, moments, sample


@given(seed=st.integers(0, 10**6))
def test_a_seed_says_the_same_again_and_every_blow_falls_before_the_end(seed: int) -> None:
    for kind in KINDS:
        drawn = moments(chance_of(seed, kind))
        assert drawn == moments(chance_of(seed, kind))
        assert len(drawn) == STRIKES
        assert [each.tasks_done for each in drawn] == sorted(each.tasks_done for each in drawn)
        assert all(each.tasks_done < TASKS - 10 and 0 <= each.delay <= 2 for each in drawn)


@given(seed=st.integers(0, 10**6))
def test_a_sample_fits_and_is_no_smaller_than_it_need_be(seed: int) -> None:
    chosen = sample(seed, 330)
    left = 330 - sum(KINDS[kind] for kind in chosen)
    assert chosen == sample(seed, 330)
    assert left >= 0
    assert all(KINDS[kind] > left for kind in KINDS.keys() - set(chosen))


def test_every_kind_comes_up_in_some_sample() -> None:
    assert {kind for seed in range(100) for kind in sample(seed, 330)} == set(KINDS)
