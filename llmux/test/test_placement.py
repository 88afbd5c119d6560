"""
Tests for L{llmux.switching.placement}.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from llmux.interfaces import ModelView, Snapshot, State, Waiting
from llmux.switching.costs import Costs
from llmux.switching.placement import EXACT, fits, loss, roomFor


def awake(name: str, needs: Mapping[str, float], **more: Any) -> ModelView:
    """
    A model that serves.
    """
    return ModelView(name, State.AWAKE, 0.0, needs, **more)


def snapshotOf(
    *views: ModelView, free: Mapping[str, float] | None = None, now: float = 0.0
) -> Snapshot:
    """
    What a policy sees.
    """
    return Snapshot(now, {view.name: view for view in views}, free or {}, Costs())


def target(**needs: float) -> ModelView:
    """
    A model that is to be woken.
    """
    return ModelView("target", State.ASLEEP, 0.0, needs)


#: Prices of models by name, in place of L{loss}.
def priced(prices: Mapping[str, float]) -> Any:
    """
    Have each model cost what is said.
    """
    return lambda view, snapshot: prices[view.name]


class FitsTests(SynchronousTestCase):
    """
    Amounts.
    """

    def test_fits(self) -> None:
        """
        All amounts must be there; what is not known is not there; and sums of
        fractions may be off by a hair.
        """
        self.assertTrue(fits({}, {}))
        self.assertTrue(fits({"gpu": 2}, {"gpu": 2, "ram": 1}))
        self.assertFalse(fits({"gpu": 2, "ram": 2}, {"gpu": 2, "ram": 1}))
        self.assertFalse(fits({"gpu": 1}, {}))
        self.assertTrue(fits({"gpu": 0.1 + 0.2}, {"gpu": 0.3}))


class LossTests(SynchronousTestCase):
    """
    What it costs to lose a model.
    """

    def test_busy(self) -> None:
        """
        It costs most to lose one that serves, then one that somebody waits
        for, then one that has just served; least one that was of no use for
        long.
        """
        queue = (Waiting("m", 0.0, 1),)
        views = [
            awake("serves", {}, inFlight=1),
            awake("queued", {}, queue=queue, oldest=queue[0]),
            awake("recent", {}, idleSince=99.0),
            awake("idle", {}, idleSince=10.0),
        ]
        snapshot = snapshotOf(*views, now=100.0)
        prices = [loss(view, snapshot) for view in views]
        self.assertEqual(prices, sorted(prices, reverse=True))
        self.assertEqual(len(set(prices)), 4)

    def test_priority(self) -> None:
        """
        What has priority is dearer, and a low priority is no reward.
        """
        high, plain, low = (awake("m", {}, priority=p) for p in (1.0, 0.0, -1.0))
        snapshot = snapshotOf(plain)
        self.assertGreater(loss(high, snapshot), loss(plain, snapshot))
        self.assertEqual(loss(low, snapshot), loss(plain, snapshot))

    def test_future(self) -> None:
        """
        It is positive whatever the clock says.
        """
        view = awake("m", {}, idleSince=50.0)
        self.assertGreater(loss(view, snapshotOf(view)), 0.0)


class RoomTests(SynchronousTestCase):
    """
    L{roomFor}
    """

    def test_roomAlready(self) -> None:
        """
        Where there is room, nobody has to go.
        """
        snapshot = snapshotOf(target(gpu=4), awake("a", {"gpu": 4}), free={"gpu": 4})
        self.assertEqual(roomFor(snapshot, "target"), frozenset())

    def test_cheapest(self) -> None:
        """
        Two that are cheap together go before one that is dear, and the other
        way round.
        """
        snapshot = snapshotOf(
            target(gpu=4),
            awake("big", {"gpu": 4}),
            awake("one", {"gpu": 2}),
            awake("two", {"gpu": 2}),
        )
        for big, expected in ((5.0, {"one", "two"}), (3.0, {"big"})):
            prices = priced({"big": big, "one": 2.0, "two": 2.0})
            self.assertEqual(roomFor(snapshot, "target", prices), expected)

    def test_nothingSuperfluous(self) -> None:
        """
        One that was cheap enough to be taken first does not go if another
        makes room enough by itself.
        """
        snapshot = snapshotOf(
            target(gpu=4), awake("big", {"gpu": 4}), awake("one", {"gpu": 1})
        )
        prices = priced({"big": 9.0, "one": 1.0})
        self.assertEqual(roomFor(snapshot, "target", prices), {"big"})

    def test_untouchable(self) -> None:
        """
        Who is pinned, spared, leaving already, not awake, or holds nothing of
        what is missing, stays.
        """
        mine = target(gpu=4)
        for other in (
            awake("other", {"gpu": 4}, pinned=True),
            awake("other", {"gpu": 4}, leaving=True),
            awake("other", {"ram": 4}),
            *(
                ModelView("other", state, 0.0, {"gpu": 4})
                for state in State
                if state is not State.AWAKE
            ),
        ):
            self.assertIsNone(roomFor(snapshotOf(mine, other), "target"), other)
        spared = snapshotOf(mine, awake("other", {"gpu": 4}))
        self.assertIsNone(roomFor(spared, "target", spare=frozenset({"other"})))
        self.assertEqual(roomFor(spared, "target"), {"other"})

    def test_several(self) -> None:
        """
        All resources that are missing are made room in.
        """
        snapshot = snapshotOf(
            target(gpu0=2, gpu1=2, ram=1),
            awake("a", {"gpu0": 2}),
            awake("b", {"gpu1": 2}),
            awake("c", {"ram": 9}),
            free={"ram": 1},
        )
        self.assertEqual(roomFor(snapshot, "target"), {"a", "b"})

    def test_many(self) -> None:
        """
        Among more models than can be tried in all combinations, the cheapest
        go until there is room, and none in vain.
        """
        count = EXACT + 8
        views = [awake(f"m{index}", {"gpu": 1.0}) for index in range(count)]
        prices = priced({view.name: index + 1.0 for index, view in enumerate(views)})
        snapshot = snapshotOf(target(gpu=3), *views)
        self.assertEqual(roomFor(snapshot, "target", prices), {"m0", "m1", "m2"})
        everything = snapshotOf(target(gpu=float(count)), *views)
        found = roomFor(everything, "target", prices)
        assert found is not None
        self.assertEqual(len(found), count)
        tooMuch = snapshotOf(target(gpu=count + 1.0), *views)
        self.assertIsNone(roomFor(tooMuch, "target", prices))

    def test_manyNoneInVain(self) -> None:
        """
        Cheap ones that were taken before a large one that makes them needless
        are left out again.
        """
        small = [awake(f"m{index}", {"gpu": 1.0}) for index in range(EXACT + 1)]
        large = awake("large", {"gpu": 50.0})
        prices = priced({"large": 99.0, **{view.name: 1.0 for view in small}})
        snapshot = snapshotOf(target(gpu=50), large, *small)
        self.assertEqual(roomFor(snapshot, "target", prices), {"large"})


AMOUNTS = st.integers(0, 6)
MODELS = st.lists(
    st.tuples(AMOUNTS, AMOUNTS, st.integers(1, 9), st.sampled_from("....pls")),
    max_size=8,
)


class ExactTests(SynchronousTestCase):
    """
    L{roomFor} beside a search through everything.
    """

    @settings(max_examples=300, deadline=None, database=None)
    @given(MODELS, AMOUNTS, AMOUNTS, AMOUNTS, AMOUNTS)
    def test_cheapest(
        self,
        models: list[tuple[int, int, int, str]],
        gpu: int,
        ram: int,
        freeGpu: int,
        freeRam: int,
    ) -> None:
        """
        Whatever the models, what goes makes room, costs no more than any
        other set that does, holds nobody who must stay, and nobody who need
        not go; and if there is no such set, none is found.
        """
        views, prices, spare = [], {}, set()
        for index, (mine, more, price, kind) in enumerate(models):
            name = f"m{index}"
            view = awake(name, {"gpu": mine, "ram": more})
            if kind == "p":
                view = evolve(view, pinned=True)
            elif kind == "l":
                view = evolve(view, leaving=True)
            elif kind == "s":
                spare.add(name)
            views.append(view)
            prices[name] = float(price)
        free = {"gpu": freeGpu, "ram": freeRam}
        snapshot = snapshotOf(target(gpu=gpu, ram=ram), *views, free=free)

        def makesRoom(names: frozenset[str]) -> bool:
            room = {
                kind: free[kind] + sum(snapshot.models[n].needs[kind] for n in names)
                for kind in free
            }
            return gpu <= room["gpu"] and ram <= room["ram"]

        may = [
            view.name
            for view in views
            if not view.pinned and not view.leaving and view.name not in spare
        ]
        best = min(
            (
                sum(prices[name] for name in names)
                for size in range(len(may) + 1)
                for names in combinations(may, size)
                if makesRoom(frozenset(names))
            ),
            default=None,
        )
        found = roomFor(snapshot, "target", priced(prices), frozenset(spare))
        if best is None:
            self.assertIsNone(found)
            return
        assert found is not None
        self.assertTrue(makesRoom(found))
        self.assertEqual(sum(prices[name] for name in found), best)
        self.assertLessEqual(found, set(may))
        for name in found:
            self.assertFalse(makesRoom(found - {name}), f"{name} need not go")
