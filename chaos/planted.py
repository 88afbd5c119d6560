"""
Bugs planted one at a time into the switching code, each of which the tests of
the invariants must catch: C{python -m chaos.planted}.

Each bug changes a line or two in a copy of the package, and the random walk of
L{llmux.test.test_invariants} is run on the copy.
"""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from shutil import copytree, ignore_patterns
from tempfile import TemporaryDirectory

from attrs import frozen

ROOT = Path(__file__).parent.parent


@frozen
class Bug:
    """
    A bug to plant.

    @ivar name: what is broken.
    @ivar before: what stands there.
    @ivar after: what is put in its place.
    """

    name: str
    before: str
    after: str


BUGS = [
    Bug(
        "granting while draining",
        "return self.residency.state is State.AWAKE and not self.leaving",
        "return self.residency.state in (State.AWAKE, State.DRAINING)",
    ),
    Bug(
        "granting while the model sleeps",
        "return self.residency.state is State.AWAKE and not self.leaving",
        "return self.residency.state is not State.ASLEEP and not self.leaving",
    ),
    Bug(
        "not draining before sleep",
        "return not self.tokens and (self.dead or not self._owes())",
        "return True",
    ),
    Bug(
        "forgetting what is owed",
        "place.owed = next(reversed(place.queue), 0)",
        "pass",
    ),
    Bug(
        "waking before the victims are asleep",
        "return not any(victim.state.holdsResources for victim in self.victims)",
        "return True",
    ),
    Bug(
        "keeping a waiter who left",
        "        del self.queue[number]\n",
        "",
    ),
    Bug(
        "going on with a switch that nobody wants",
        "        if not move.target.queue:\n            self.cancel(move)\n            return\n",
        "",
    ),
    Bug(
        "not going back to service when a drain is cancelled",
        "                victim.residency.keep()\n",
        "",
    ),
    Bug(
        "releasing a token twice",
        "onRelease, self._onRelease = self._onRelease, None",
        "onRelease = self._onRelease",
    ),
    Bug(
        "a token that is not given back when its work is cut",
        "            onCut(why)\n        self.release()",
        "            onCut(why)",
    ),
    Bug(
        "no timer for the bound",
        "if soonest is not None:\n            delays.append",
        "if False:\n            delays.append",
    ),
    Bug(
        "never forcing the bound",
        "        for place in overdue:\n            victims = roomFor",
        "        for place in []:\n            victims = roomFor",
    ),
    Bug(
        "letting others pass who came after one that is overdue",
        "why = refusal(decision, snapshot, bounded=False)\n            if why is not None:\n                return why\n            target",
        "why = None\n            overdue = ()\n            target",
    ),
    Bug(
        "no limit to what a model serves at once",
        "return most is not None and len(self.tokens) >= most",
        "return False",
    ),
    Bug(
        "not serving who waits when a token comes back",
        "        if place.queue:\n            self.serve(place)\n        if (",
        "        if (",
    ),
    Bug(
        "forgetting that what victims hold is spoken for",
        "                free[name] -= max(0.0, amount - given)\n",
        "                pass\n",
    ),
    Bug(
        "taking a model that could not be put to sleep for asleep",
        "sleeping.upon(_Inputs._failed).to(stuck)",
        "sleeping.upon(_Inputs._failed).to(asleep)",
    ),
    Bug(
        "no clean-up after a failed wake",
        "waking.upon(_Inputs._failed).to(sleeping)",
        "waking.upon(_Inputs._failed).to(cooling)",
    ),
    Bug(
        "keeping a dead model in service",
        "checking.upon(_Inputs._failed).to(failing)",
        "checking.upon(_Inputs._failed).to(awake)",
    ),
    Bug(
        "no second try for a sleep that failed",
        "        core.pause(core.sleepFailures, inputs._timeUp)\n",
        "",
    ),
    Bug(
        "never leaving a model alone after its pause",
        "        core.pause(core.failures, inputs._timeUp)\n",
        "",
    ),
    Bug(
        "a timer for a long wait that is not cancelled",
        "waiter.timer.cancel()",
        "pass",
    ),
    Bug(
        "a pause that outlives the switcher",
        "        self._core.halted = True\n        self._core.stopPause()",
        "        pass",
    ),
    Bug(
        "those who wait for a model that cannot be woken are not told",
        "        if after is State.COOLING or after is State.STUCK:",
        "        if False:",
    ),
    Bug(
        "adopting two models in one place",
        "if before is State.UNKNOWN and self._board.rooms.holdTooMuch():",
        "if False:",
    ),
    Bug(
        "admitting nobody to a model that is kept awake for min_active_secs",
        "        if not self.queue or self.full:\n            return None",
        "        if not self.queue or self.full or len(self.queue) < 2:\n            return None",
    ),
    Bug(
        "not cutting a drain that takes too long",
        '        place.owed = 0\n        self._queues.cut(place, "the drain',
        '        place.owed = 0\n        str((place, "the drain',
    ),
]


def plant(bug: Bug, folder: Path) -> None:
    """
    Put a bug into the code.

    @raise ValueError: the bug does not fit the code any more.
    """
    texts = {path: path.read_text("utf-8") for path in folder.glob("*.py")}
    places = [path for path, text in texts.items() if bug.before in text]
    if len(places) != 1 or texts[places[0]].count(bug.before) != 1:
        raise ValueError(f"{bug.name}: its place in the code is not there")
    (path,) = places
    path.write_text(texts[path].replace(bug.before, bug.after), "utf-8")


def caught(bug: Bug) -> tuple[bool, str]:
    """
    Plant a bug in a copy of the package and run the tests on it.

    @return: whether they failed, and the last of what they said.
    @raise ValueError: the bug does not fit the code any more.
    """
    with TemporaryDirectory() as folder:
        copy = Path(folder) / "llmux"
        copytree(ROOT / "llmux", copy, ignore=ignore_patterns("__pycache__"))
        plant(bug, copy / "switching")
        ran = subprocess.run(
            [
                sys.executable,
                "-m",
                "twisted.trial",
                "llmux.test.test_invariants",
                "llmux.test.test_switcher",
            ],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        said = [line for line in ran.stdout.splitlines() if "Error" in line]
        return ran.returncode != 0, said[0] if said else ""


def main() -> int:
    """
    Plant every bug, and say which were caught.

    @return: the exit status: 0 if all were.
    """
    missed = 0
    with ThreadPoolExecutor(2) as pool:
        for bug, (found, said) in zip(BUGS, pool.map(caught, BUGS), strict=True):
            missed += not found
            print(f"{'caught' if found else 'MISSED'}: {bug.name}  {said[:100]}")
    print(f"{len(BUGS) - missed} of {len(BUGS)} planted bugs were caught")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
