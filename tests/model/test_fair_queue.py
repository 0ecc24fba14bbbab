"""Fair shares: nobody waits for all that another has asked for, and nobody holds all places."""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError, Future

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.fair_queue import FairQueue, may_take
from model.fair_worker import PASSES, FairWorker


def filled(*items: tuple[str | None, int]) -> FairQueue[tuple[str | None, int]]:
    queue: FairQueue[tuple[str | None, int]] = FairQueue()
    for item in items:
        queue.push(item[0], item)
    return queue


def test_clients_are_served_in_turn_and_each_in_its_order() -> None:
    queue = filled(("a", 1), ("a", 2), ("a", 3), ("b", 1), ("c", 1), ("b", 2))
    assert [queue.pop() for _ in range(7)] == [("a", 1), ("b", 1), ("c", 1), ("a", 2), ("b", 2), ("a", 3), None]


def test_items_of_nobody_stand_alone() -> None:
    queue = filled((None, 1), ("a", 1), ("a", 2), (None, 2))
    assert [queue.pop() for _ in range(4)] == [(None, 1), ("a", 1), (None, 2), ("a", 2)]


def test_who_is_not_ready_lets_the_next_go_first_and_keeps_its_turn() -> None:
    queue = filled(("a", 1), ("b", 1), ("c", 1))
    assert queue.has(lambda item: item[0] == "b")
    assert queue.pop(lambda item: item[0] != "a") == ("b", 1)
    assert queue.pop() == ("a", 1)
    assert queue.pop(lambda _: False) is None
    assert not queue.has(lambda item: item[0] == "b")
    assert list(queue) == [("c", 1)]


def test_removing() -> None:
    queue = filled(("a", 1), ("a", 2), ("b", 1))
    queue.remove(lambda item: item[1] == 1)
    assert list(queue) == [("a", 2)]
    assert len(queue) == 1


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers())))
def test_nobody_is_served_twice_while_somebody_else_waits(items: list[tuple[str, int]]) -> None:
    queue = filled(*items)
    served: list[tuple[str | None, int]] = []
    while (item := queue.pop()) is not None:
        served.append(item)
        if len(served) > 1 and served[-2][0] == item[0]:
            assert all(waiting[0] == item[0] for waiting in queue)
    assert sorted(served, key=str) == sorted(items, key=str)


@pytest.mark.parametrize(("places", "alone"), [(1, 1), (2, 1), (3, 2), (4, 2), (8, 4), (12, 6)])
def test_one_client_alone_gets_half_of_the_places(places: int, alone: int) -> None:
    held = 0
    while may_take(held, places - held):
        held += 1
    assert held == alone
    assert places == 1 or may_take(0, places - held)


class Held:
    """A worker whose first job waits until it is told to go on, calling `make_way` each time."""

    def __init__(self) -> None:
        self.worker = FairWorker("test")
        self.order: list[str] = []
        self._steps = threading.Semaphore(0)
        self._stepped = threading.Semaphore(0)
        self._began = threading.Event()

    def hold(self, client: str) -> Future[None]:
        def work() -> None:
            self._began.set()
            for _ in range(3):
                self._steps.acquire()
                self.worker.make_way()
                self._stepped.release()
            self.order.append(f"{client} held")

        future = self.worker.submit(client, work)
        assert self._began.wait(5)
        return future

    def step(self) -> None:
        self._steps.release()
        assert self._stepped.acquire(timeout=5)

    def add(self, client: str, name: str) -> Future[None]:
        def work() -> None:
            self.worker.make_way()
            self.order.append(name)

        return self.worker.submit(client, work)


def test_a_long_job_makes_way_for_others_and_not_for_its_own_client() -> None:
    held = Held()
    last = held.hold("hostile")
    own = [held.add("hostile", f"hostile {n}") for n in range(50)]
    held.step()
    assert held.order == []
    held.add("other", "other 1").add_done_callback(lambda _: held.add("other", "other 2"))
    held.step()
    assert held.order[0] == "other 1"
    held.step()
    last.result(5)
    own[-1].result(5)
    assert held.order[:3] == ["other 1", "other 2", "hostile held"]
    assert held.order[3:] == [f"hostile {n}" for n in range(50)]
    held.worker.stop()


def test_a_long_job_is_not_passed_for_ever() -> None:
    held = Held()
    last = held.hold("long")
    others = [held.add("other", f"other {n}") for n in range(2 * PASSES)]
    held.step()
    held.step()
    assert len(held.order) == PASSES
    held.step()
    others[-1].result(5)
    assert last.done()
    assert held.order.index("long held") == PASSES
    held.worker.stop()


def test_what_breaks_or_is_cancelled_stops_nobody_else() -> None:
    held = Held()
    held.hold("a")
    cancelled = held.add("b", "never")
    assert cancelled.cancel()
    broken = held.worker.submit("c", lambda: 1 // 0)
    for _ in range(3):
        held.step()
    with pytest.raises(ZeroDivisionError):
        broken.result(5)
    held.add("b", "after").result(5)
    assert held.order == ["a held", "after"]
    held.worker.stop()


def test_stopping_cancels_what_waits() -> None:
    held = Held()
    held.hold("a")
    waiting = held.add("b", "never")
    held.worker.stop()
    for future in (waiting, held.add("c", "too late")):
        with pytest.raises(CancelledError):
            future.result(5)
    for _ in range(3):
        held.step()
