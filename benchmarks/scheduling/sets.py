"""
Traffic: the sets of requests that policies are compared on.

Each is made from a seed, with the parameters of public traces: Azure's code
and conversation traces of 2023, BurstGPT's gamma distributed gaps, Zipf's law
for the popularity of models.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import log
from random import Random

from attrs import frozen

from llmux.simulate import Arrival, FailureRates, ModelCost

#: The spread of the logarithm of service times.
SPREAD = 0.9

#: No answer is longer than this, in seconds.
LONGEST = 120.0


@frozen
class Set:
    """
    Traffic and the machine that it meets.

    @ivar maxWait: the bound to be held, in seconds.
    """

    name: str
    trace: Sequence[Arrival]
    costs: Mapping[str, ModelCost]
    maxWait: float = 120.0
    firstWakeFree: bool = False


def lengths(random: Random, mean: float, spread: float = SPREAD) -> float:
    """
    @return: a service time: lognormal, with an upper limit, in seconds.
    """
    return min(LONGEST, random.lognormvariate(log(mean) - spread * spread / 2, spread))


def gaps(random: Random, rate: float, cv: float) -> float:
    """
    @return: the time between two requests, in seconds: gamma distributed.
    @param cv: the standard deviation by the mean: 1 is a Poisson process.
    """
    shape = 1.0 / (cv * cv)
    return random.gammavariate(shape, 1.0 / (shape * rate))


def names(count: int) -> list[str]:
    """
    @return: names for models.
    """
    return [chr(ord("a") + index) for index in range(count)]


def zipf(
    random: Random,
    models: Sequence[str],
    count: int,
    rate: float,
    cv: float,
    mean: float = 8.0,
) -> list[Arrival]:
    """
    One stream of requests over models of very different popularity.
    """
    weights = [1.0 / rank for rank in range(1, len(models) + 1)]
    trace: list[Arrival] = []
    now = 0.0
    for _ in range(count):
        now += gaps(random, rate, cv)
        model = random.choices(models, weights)[0]
        trace.append(Arrival(now, model, lengths(random, mean)))
    return trace


def evenly(
    models: Iterable[str], cost: float, concurrency: float = 16
) -> dict[str, ModelCost]:
    """
    @param cost: what a switch takes in all, in seconds.
    @return: the same cost for all models.
    """
    return {
        model: ModelCost(wake=0.9 * cost, sleep=0.1 * cost, concurrency=concurrency)
        for model in models
    }


def merged(*traces: Iterable[Arrival]) -> list[Arrival]:
    """
    @return: all requests in the order of their arrival.
    """
    return sorted((one for trace in traces for one in trace), key=lambda one: one.at)


# The twelve profiles -------------------------------------------------------------

#: Seconds that each of their requests takes alone.
SHORT = 0.5


def profiles(seed: int) -> dict[str, list[Arrival]]:
    """
    The profiles with which the Rust program's policies were once compared:
    short, dense bursts.
    """
    random = Random(f"profiles/{seed}")

    def one(at: float, model: str) -> Arrival:
        return Arrival(at, model, SHORT)

    def mixed(count: int, share: float, gap: Callable[[], float]) -> list[Arrival]:
        # Whoever is rare does not come first.
        found = [one(0.0, "a")]
        now = 0.0
        for _ in range(count - 1):
            now += gap()
            found.append(one(now, "a" if random.random() < share else "b"))
        return found

    def uneven() -> float:
        return random.uniform(0.0, 0.2)

    return {
        "single_model": [one(0.1 * index, "a") for index in range(40)],
        "balanced": [
            one(0.1 * index, model) for index in range(20) for model in ("a", "b")
        ],
        "bursty": [
            one(5.0 * burst, "ab"[burst % 2]) for burst in range(4) for _ in range(10)
        ],
        "dominant": mixed(50, 0.8, lambda: 0.05),
        "interleave": [one(0.0, model) for _ in range(30) for model in ("a", "b")],
        "surge": merged(
            [one(0.5 * index, "a") for index in range(20)],
            [one(5.0, "b") for _ in range(20)],
        ),
        "three_model": [
            one(3.0 * turn + index + 0.1 * number, model)
            for turn in range(2)
            for index, model in enumerate(("a", "b", "c"))
            for number in range(10)
        ],
        "random_mixed_50": mixed(50, 0.5, uneven),
        "random_mixed_100": mixed(100, 0.5, uneven),
        "random_mixed_200": mixed(200, 0.5, uneven),
        "dominant_95": mixed(80, 0.95, lambda: 0.05),
        "heavy_burst": [
            one(5.0 * burst, "ab"[burst % 2]) for burst in range(6) for _ in range(50)
        ],
    }


# The sets ---------------------------------------------------------------------------


def profileSets(seed: int, size: float) -> list[Set]:
    """
    B1: the profiles at several costs, and between a model that is cheap to
    wake and one that is dear.
    """
    found: list[Set] = []
    for name, trace in profiles(seed).items():
        models = ["a", "b", "c"]
        found += [
            Set(
                f"B1 {name}, {cost:g} s",
                trace,
                evenly(models, cost, 1),
                firstWakeFree=True,
            )
            for cost in (0.3, 2.0, 10.0, 40.0)
        ]
        uneven = {
            "a": ModelCost(wake=3.6, sleep=0.4, concurrency=1),
            "b": ModelCost(wake=38.5, sleep=1.0, concurrency=1),
            "c": ModelCost(wake=10.0, sleep=1.0, concurrency=1),
        }
        found.append(Set(f"B1 {name}, 3.6/38.5 s", trace, uneven, firstWakeFree=True))
    return found


def agents(seed: int, size: float) -> list[Set]:
    """
    B2: one model completes code, in storms; one talks, steadily.  At a tenth
    of the rates of Azure's traces; 25 tokens a second.
    """
    random = Random(f"B2/{seed}")
    trace: list[list[Arrival]] = []
    for model, rate, cv, middle, spread in (
        ("code", 0.2567, 13.15, 2.79, 0.85),
        ("conv", 0.553, 1.09, 5.02, 0.86),
    ):
        now, found = 0.0, []
        for _ in range(int(rate * 3600 * size)):
            now += gaps(random, rate, cv)
            tokens = random.lognormvariate(middle, spread)
            found.append(Arrival(now, model, min(LONGEST, 0.3 + tokens / 25.0)))
        trace.append(found)
    return [
        Set("B2 code and conversation", merged(*trace), evenly(("code", "conv"), 5))
    ]


def popular(seed: int, size: float) -> list[Set]:
    """
    B3: eight models by Zipf's law, in bursts.
    """
    models = names(8)
    trace = zipf(Random(f"B3/{seed}"), models, int(1500 * size), 0.5, 2.0)
    return [Set("B3 Zipf over 8 models", trace, evenly(models, 5), 180)]


def overlapping(seed: int, size: float) -> list[Set]:
    """
    B4: one model has 95 of 100 requests, and always some in flight.
    """
    random = Random(f"B4/{seed}")
    now, trace = 0.0, []
    for _ in range(int(2000 * size)):
        now += gaps(random, 1.0, 1.0)
        model = "a" if random.random() < 0.95 else "b"
        trace.append(Arrival(now, model, lengths(random, 8.0)))
    return [Set("B4 95 to 5, overlapping", trace, evenly("ab", 10))]


def interleaved(seed: int, size: float) -> list[Set]:
    """
    B5: A B C A B C ...
    """
    random = Random(f"B5/{seed}")
    trace = [
        Arrival(2.0 * index, "abc"[index % 3], lengths(random, 4.0))
        for index in range(int(600 * size))
    ]
    return [Set("B5 A B C A B C", trace, evenly("abc", 5))]


def groups(seed: int, size: float) -> list[Set]:
    """
    B6: pairs of models that are busy at the same times.
    """
    random = Random(f"B6/{seed}")
    trace: list[Arrival] = []
    end = 7200.0 * size
    for pair in (("a", "b"), ("c", "d"), ("e", "f")):
        now = random.expovariate(1 / 240.0)
        while now < end:
            until = now + random.expovariate(1 / 120.0)
            while now < until:
                now += gaps(random, 0.4, 1.0)
                trace.append(Arrival(now, random.choice(pair), lengths(random, 6.0)))
            now = until + random.expovariate(1 / 240.0)
    return [Set("B6 groups", merged(trace), evenly(names(6), 5), 180)]


def loops(seed: int, size: float) -> list[Set]:
    """
    B7: agents; each asks an orchestrator, an explorer and a coder in turn,
    and goes on when it has its answer.
    """
    random = Random(f"B7/{seed}")

    def steps(left: int) -> tuple[Arrival, ...]:
        if not left:
            return ()
        model = random.choice(("explorer", "explorer", "coder", "orchestrator"))
        return (
            Arrival(
                random.expovariate(1.0),
                model,
                lengths(random, 5.0),
                then=steps(left - 1),
            ),
        )

    trace = [
        Arrival(
            20.0 * index,
            "orchestrator",
            lengths(random, 5.0),
            then=steps(int(60 * size)),
        )
        for index in range(4)
    ]
    return [Set("B7 agents", trace, evenly(("orchestrator", "explorer", "coder"), 5))]


def faults(seed: int, size: float) -> list[Set]:
    """
    B8: wakes that fail and hang, sleeps that fail, models that die.
    """
    models = names(4)
    trace = zipf(Random(f"B8/{seed}"), models, int(1500 * size), 0.3, 1.0)
    rates = FailureRates(wake=0.05, sleep=0.02, hang=0.02, die=0.002)
    costs = {
        model: ModelCost(wake=4.5, sleep=0.5, jitter=0.2, fail=rates)
        for model in models
    }
    return [Set("B8 faults", trace, costs, 180)]


#: All sets, by their number.
SETS: Mapping[str, Callable[[int, float], list[Set]]] = {
    "B1": profileSets,
    "B2": agents,
    "B3": popular,
    "B4": overlapping,
    "B5": interleaved,
    "B6": groups,
    "B7": loops,
    "B8": faults,
}
