"""
Bugs planted one at a time into the switching code, each of which tests must
catch: C{python -m chaos.planted}.

Each bug changes a line or two in a copy of the package, and
L{llmux.test.test_invariants} is run on the copy; for a bug that breaks no
promise that a world can see, or too seldom, L{llmux.test.test_switcher}.

With words as arguments, only bugs whose names hold one of them are planted.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
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
    @ivar tests: which tests must catch it.
    """

    name: str
    before: str
    after: str
    tests: str = "llmux.test.test_invariants"


#: No bug at all: must not be caught.
NONE = Bug("nothing", "", "")

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
        "if decision.target in snapshot.barred and not bounded:",
        "if False:",
        "llmux.test.test_switcher",
    ),
    Bug(
        "no limit to what a model serves at once",
        "return most is not None and len(self.tokens) >= most",
        "return False",
    ),
    Bug(
        "not serving who waits when a token comes back",
        "        if place.queue:\n            self.serve(place)\n        if self._board.waiting or",
        "        if",
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
        "llmux.test.test_switcher",
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
        "llmux.test.test_switcher",
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
        "llmux.test.test_switcher",
    ),
    Bug(
        "adopting two models in one place",
        "if before is State.UNKNOWN and self._board.rooms.holdTooMuch():",
        "if False:",
        "llmux.test.test_switcher",
    ),
    Bug(
        "admitting nobody to a model that is kept awake for min_active_secs",
        "        if not self.queue or self.full:\n            return None",
        "        if not self.queue or self.full or len(self.queue) < 2:\n            return None",
    ),
    Bug(
        "draining before min_active_secs is over",
        "if early > 1e-6 and not bounded:",
        "if False:",
        "llmux.test.test_switcher",
    ),
    Bug(
        "letting newcomers in before a bound is kept",
        "return bool(overdue) and self._force",
        "return False and self._force",
        "llmux.test.test_switcher",
    ),
    Bug(
        "one who waits again goes before those who came earlier",
        "                self.queue.move_to_end(later)",
        "                pass",
        "llmux.test.test_switcher",
    ),
    Bug(
        "a wake that was broken off counts as failed",
        "            if core.state is State.WAKING:\n",
        "            if True:\n",
        "llmux.test.test_residency",
    ),
    Bug(
        "letting everybody into a drain",
        "            last = self.owed\n",
        "            last = inf\n",
    ),
    Bug(
        "a priority that beats the bound",
        "if len(self._priorities) == 1 or overdue:",
        "if len(self._priorities) == 1:",
        "llmux.test.test_switcher",
    ),
    Bug(
        "going to sleep while somebody is served, after ttl_secs",
        "        if not place.serving or place.tokens or place.queue:\n",
        "        if not place.serving:\n",
        "llmux.test.test_switcher",
    ),
    Bug(
        "a limit to a drain that outlives it",
        "self._board.together(self._drain, place, errand)",
        "self._drain(place, errand)",
        "llmux.test.test_switcher",
    ),
    Bug(
        "never asking again when min_active_secs is over",
        "        delays = [] if recheck is None else [recheck]\n",
        "        delays: list[float] = []\n",
    ),
    Bug(
        "not cutting a drain that takes too long",
        '        place.owed = 0\n        self._queues.cut(place, "the drain',
        '        place.owed = 0\n        str("the drain',
    ),
]


def plant(bug: Bug, folder: Path) -> None:
    """
    Put a bug into the code.

    @raise ValueError: the bug does not fit the code any more.
    """
    if bug is NONE:
        return
    texts = {path: path.read_text("utf-8") for path in folder.glob("*.py")}
    places = [path for path, text in texts.items() if bug.before in text]
    if len(places) != 1 or texts[places[0]].count(bug.before) != 1:
        raise ValueError(f"{bug.name}: its place in the code is not there")
    (path,) = places
    path.write_text(texts[path].replace(bug.before, bug.after), "utf-8")


def caught(bug: Bug) -> tuple[bool, str]:
    """
    Plant a bug in a copy of the package and run its tests on it.

    @return: whether they failed, and the first of what they said.
    @raise ValueError: the bug does not fit the code any more.
    """
    with TemporaryDirectory() as folder:
        copy = Path(folder) / "llmux"
        copytree(ROOT / "llmux", copy, ignore=ignore_patterns("__pycache__"))
        plant(bug, copy / "switching")
        try:
            ran = subprocess.run(
                [
                    *(sys.executable, "-m", "twisted.trial"),
                    *("--exitfirst", "--reporter=text", bug.tests),
                ],
                cwd=folder,
                # The copy, whatever else there is.
                env={**os.environ, "PYTHONPATH": folder},
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return True, "the tests did not come to an end"
        if "\nFAILED (" not in ran.stdout and "\nPASSED (" not in ran.stdout:
            raise RuntimeError(f"the tests were not run: {ran.stderr[-1000:]}")
        if "SyntaxError: " in ran.stdout or "IndentationError: " in ran.stdout:
            raise ValueError(f"{bug.name}: the code with it is no code")
        said = [line for line in ran.stdout.splitlines() if "Error: " in line]
        return ran.returncode != 0, said[0] if said else ""


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Plant every bug, and say which were caught.

    @return: the exit status: 0 if all were.
    """
    words = sys.argv[1:] if arguments is None else arguments
    bugs = [bug for bug in BUGS if not words or any(word in bug.name for word in words)]
    found, said = caught(NONE)
    if found:
        print(f"the tests fail though no bug is planted  {said}")
        return 1
    missed = 0
    with ThreadPoolExecutor(2) as pool:
        for bug, (found, said) in zip(bugs, pool.map(caught, bugs), strict=True):
            missed += not found
            verdict = "caught" if found else "MISSED"
            print(f"{verdict}: {bug.name}  {said[-120:]}", flush=True)
    print(f"{len(bugs) - missed} of {len(bugs)} planted bugs were caught")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
