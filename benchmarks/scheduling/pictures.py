"""
Draw the pictures of the documentation::

    python -m benchmarks.scheduling.pictures docs/pictures
"""

from __future__ import annotations

import sys
from pathlib import Path
from random import Random

from attrs import evolve

from benchmarks.scheduling.sets import Set, evenly, lengths, overlapping
from benchmarks.scheduling.trial import POLICIES, run
from llmux.simulate import Arrival
from llmux.simulate.picture import draw


def main(folder: str) -> None:
    """
    @param folder: where to put them.
    """
    random = Random("pictures")
    agents = Set(
        "agents",
        [
            Arrival(2.0 * index, "abc"[index % 3], lengths(random, 6.0))
            for index in range(90)
        ],
        evenly("abc", 8.0),
        90.0,
    )
    (starving,) = overlapping(1, 0.15)
    starving = evolve(starving, maxWait=60.0)
    for name, traffic in (("agents", agents), ("starving", starving)):
        reports = [run(traffic, policy, timeline=True) for policy in POLICIES]
        draw(reports, str(Path(folder) / f"scheduling-{name}.png"))
        for report in reports:
            print(name, report.policy, report.switches, report.waits)


if __name__ == "__main__":
    main(*sys.argv[1:])
