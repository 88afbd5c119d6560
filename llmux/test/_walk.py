# -*- test-case-name: llmux.test.test_invariants -*-
"""
Random walks through L{World}s that are found again by their seeds.
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

from llmux.config import PolicyConfig
from llmux.interfaces import ISwitchPolicy, Reason
from llmux.policies.fifo import FirstComeFirstServed
from llmux.test._world import World
from llmux.testing import makeConfig

MODELS = ("a", "b", "c")

#: What worlds differ by.
SETTINGS: Mapping[str, list[Any]] = {
    "several": [False, True],
    "capped": [None, 1, 2],
    "timeout": [None, 20.0],
    "drains": [True, True, False],
    "minActive": [0.0, 0.0, 15.0],
    "maxWait": [None, 10.0, 60.0],
    "hasty": [None, None, 4.0],
    "home": [None, None, "a"],
    "cancelled": ["yield", "yield", "finish", "end"],
    "drainTimeout": [None, None, 8.0],
    "ttl": [None, None, 12.0],
    "pinned": [None, None, None, "a"],
    "awake": [frozenset(), frozenset("a"), frozenset("ab")],
    "deaf": [frozenset(), frozenset("ab")],
    "slowAlive": [False, False, True],
}

#: What happens how often in a walk.
STEPS = {
    "arrive": 8,
    "crowd": 2,
    "order": 1,
    "leave": 3,
    "release": 7,
    "refuse": 1,
    "endHook": 8,
    "tick": 5,
}

#: How many steps one world is walked for.
LENGTH = 100


def makeWorld(
    *,
    several: bool = False,
    capped: int | None = None,
    timeout: float | None = None,
    drains: bool = True,
    minActive: float = 0.0,
    maxWait: float | None = None,
    hasty: float | None = None,
    home: str | None = None,
    cancelled: str = "yield",
    drainTimeout: float | None = None,
    ttl: float | None = None,
    pinned: str | None = None,
    awake: frozenset[str] = frozenset(),
    deaf: frozenset[str] = frozenset(),
    slowAlive: bool = False,
    policy: ISwitchPolicy | None = None,
) -> World:
    """
    A world with one place, or with several.

    @param hasty: C{max_wait_secs} of one of the models.
    """
    needs = {"a": 10, "b": 14, "c": 20}
    config = makeConfig(
        *MODELS,
        policy=PolicyConfig(
            name="fifo",
            request_timeout_secs=timeout,
            drain_before_switch=drains,
            min_active_secs=minActive,
            max_wait_secs=maxWait,
            cancelled_wake=cancelled,
            default_model=home,
            default_after_secs=6.0,
            drain_timeout_secs=drainTimeout,
        ),
        resources={"gpu": 24} if several else {},
        models={
            name: {
                "max_in_flight": capped,
                "ttl_secs": ttl,
                "pin": name == pinned,
                "max_wait_secs": hasty if name == "b" else None,
                "needs": {"gpu": needs[name]} if several else None,
            }
            for name in MODELS
        },
    )
    policy = policy or FirstComeFirstServed()
    return World(config, policy, awake, deaf=deaf, slowAlive=slowAlive)


def step(world: World, random: Random) -> str:
    """
    Have something happen.

    @return: what.
    """
    kind = random.choices(list(STEPS), list(STEPS.values()))[0]
    model = random.choice(MODELS)
    index = random.randrange(6)
    if kind == "arrive":
        world.arrive(model, random.choice((0, 0, 0, 1, -2.5, 7)))
    elif kind == "crowd":
        for name in (model, model, model, random.choice(MODELS)):
            world.arrive(name)
    elif kind == "order":
        world.arrive(model, reason=Reason.OPERATOR)
    elif kind == "leave":
        world.leave(index)
    elif kind == "release":
        world.release(index, random.random() < 0.5)
    elif kind == "refuse":
        world.refuse(index, random.random() < 0.5)
    elif kind == "endHook":
        world.endHook(index, random.random() < 0.75)
    else:
        world.tick(random.choice((0.1, 1.0, 5.0, 30.0)))
    return kind


def walk(seed: str, length: int = LENGTH) -> None:
    """
    Walk one world from its beginning to its end.

    @raise AssertionError: a promise was broken; it says by which seed, with
        which to walk the same way again.
    """
    random = Random(seed)
    settings = {name: random.choice(values) for name, values in SETTINGS.items()}
    done: list[str] = []
    try:
        world = makeWorld(**settings)
        for _ in range(length):
            done.append(step(world, random))
            world.check()
        if random.random() < 0.5:
            world.settle()
        else:
            world.stop(random.random() < 0.5, random.random() < 0.3)
    except Exception as error:
        raise AssertionError(
            f"walk({seed!r}) of {settings} broke after {len(done)} steps, "
            f"{done[-5:]}: {type(error).__name__}: {error}"
        ) from error
