"""
Run the tests in random order, and say of each module how much of it they
reach, and how much its own tests alone do: those that its first line names::

    python tools/cover.py [--own PERCENT] [--all PERCENT] [--seed N] [TEST...]

What only the tests of other modules reach breaks without anybody being told
where.  Needs PyPI's C{coverage}.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from attrs import frozen
from coverage import Coverage
from coverage.exceptions import NoDataError

ROOT = Path(__file__).parent.parent
NAMED = re.compile(r"# -\*- test-case-name: (\S+) -\*-")


@frozen
class Module:
    """
    A module, and the modules of its tests.
    """

    name: str
    path: Path
    tests: tuple[str, ...]


def modules() -> list[Module]:
    """
    All modules that name their tests.
    """
    found = []
    for path in sorted((ROOT / "llmux").rglob("*.py")):
        match = NAMED.match(path.read_text("utf-8"))
        if match is not None and path.parent.name != "test":
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found.append(Module(name, path, tuple(match[1].split(","))))
    return found


def run(cover: Coverage, tests: list[str], seed: int, folder: str) -> bool:
    """
    Run tests while it is recorded which module's each is.

    @return: whether all passed.
    """
    # Not before: what they import is to be recorded as well.
    from twisted.trial.reporter import TreeReporter
    from twisted.trial.runner import TestLoader, TrialRunner

    class Reporter(TreeReporter):
        def startTest(self, test: Any) -> None:
            # Its type is that of what trial wraps it in.
            cover.switch_context(test.id().rsplit(".", 2)[0])
            super().startTest(test)

    loader = TestLoader()
    order = random.Random(seed)
    loader.sorter = lambda thing: order.random()
    suite = loader.loadByNames(tests, recurse=True)
    for module in modules():
        # What is imported when first needed would count for whoever needs it.
        with suppress(ImportError):
            import_module(module.name.removesuffix(".__init__"))
    runner = TrialRunner(Reporter, workingDirectory=os.path.join(folder, "trial"))
    print(f"in the order of seed {seed}")
    return bool(runner.run(suite).wasSuccessful())


def reached(cover: Coverage, module: Module, tests: tuple[str, ...] | None) -> float:
    """
    @param tests: whose tests count; if L{None}, all.
    @return: the share of its lines and branches, in percent.
    """
    contexts = None
    if tests is not None:
        # What is done while it is imported is nobody's.
        contexts = ["^$", *(f"^{re.escape(test)}$" for test in tests)]
    try:
        with open(os.devnull, "w") as nowhere:
            return cover.report([str(module.path)], contexts=contexts, file=nowhere)
    except NoDataError:
        return 0.0


def main() -> int:
    """
    Run the tests, and print the table.

    @return: the exit status.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--own", type=float, default=0, metavar="PERCENT")
    parser.add_argument("--all", type=float, default=0, metavar="PERCENT")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("tests", nargs="*", default=["llmux"])
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    with TemporaryDirectory() as folder:
        cover = Coverage(
            data_file=os.path.join(folder, "branches"),
            config_file=str(ROOT / "pyproject.toml"),
        )
        cover.start()
        passed = run(cover, options.tests, options.seed, folder)
        cover.stop()
        cover.save()
        low = []
        print("\nmodule                                       all tests   its own")
        for module in modules():
            whole = reached(cover, module, None)
            own = reached(cover, module, module.tests)
            if own < 100:
                print(f"{module.name:44} {whole:8.1f} % {own:7.1f} %")
            if own < options.own:
                low.append(module.name)
        total = cover.report(
            show_missing=True, skip_covered=True, omit=["llmux/test/*"]
        )
    print(f"\nreached in all: {total:.1f} %")
    for name in low:
        print(f"too little: {name}")
    return 0 if passed and not low and total >= options.all else 1


if __name__ == "__main__":
    sys.exit(main())
