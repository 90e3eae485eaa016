"""Draws from global generators are found in the thread that trains; those of others are not taken for its."""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from expunge.errors import InputError
from expunge.learners.draws import no_draws_of_python_or_numpy


def in_a_thread(work: Callable[[], None]) -> BaseException | None:
    caught: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            caught.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return caught[0] if caught else None


def here(work: Callable[[], None]) -> BaseException | None:
    try:
        work()
    except InputError as error:
        return error
    return None


@contextmanager
def another_thread_draws() -> Iterator[None]:
    """As a dask worker's event loop does, twice a second; here all the time."""
    stop, begun = threading.Event(), threading.Event()

    def draw() -> None:
        while not stop.is_set():
            random.random()
            begun.set()

    thread = threading.Thread(target=draw)
    thread.start()
    begun.wait()
    yield
    stop.set()
    thread.join()


DRAWS: list[Callable[[], object]] = [
    random.random,
    lambda: random.choice([1, 2, 3]),
    lambda: random.gauss(0, 1),
    lambda: random.shuffle([1, 2, 3]),
    lambda: np.random.rand(2),  # noqa: NPY002
    lambda: np.random.permutation(3),  # noqa: NPY002
]


@pytest.mark.parametrize("place", [here, in_a_thread])
@pytest.mark.parametrize("draw", DRAWS)
def test_a_draw_is_refused_wherever_it_trains(place: Callable[..., BaseException | None], draw: object) -> None:
    def work() -> None:
        with no_draws_of_python_or_numpy():
            [(lambda: draw())() for _ in range(2)]  # type: ignore[operator]

    assert isinstance(place(work), InputError)


@pytest.mark.parametrize("place", [here, in_a_thread])
def test_own_generators_are_no_draws(place: Callable[..., BaseException | None]) -> None:
    def work() -> None:
        with no_draws_of_python_or_numpy():
            random.Random(3).random()
            np.random.default_rng(3).normal()

    assert place(work) is None


def test_another_threads_draws_are_not_taken_for_a_workers_own() -> None:
    def work() -> None:
        with no_draws_of_python_or_numpy():
            sum(range(2_000_000))

    with another_thread_draws():
        state = random.getstate()
        assert in_a_thread(work) is None
        assert random.getstate() != state


def test_the_profile_of_a_thread_is_given_back() -> None:
    def work() -> None:
        def profile(*_: object) -> None: ...

        sys.setprofile(profile)
        with no_draws_of_python_or_numpy():
            pass
        kept = sys.getprofile()
        sys.setprofile(None)
        assert kept is profile

    assert in_a_thread(work) is None
