"""
How the house is laid out: which module may know of which, and what all of
them keep to.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import llmux

PACKAGE = Path(llmux.__file__).parent

#: From the bottom up: a module may import from rooms below its own, and from
#: its own where that is a package.  The inner parts of the switcher are rooms
#: of their own.
ROOMS = (
    "_version",
    "errors",
    "interfaces",
    "config",
    "pace",
    "descriptors",
    "switching.inflight",
    "switching.costs",
    "switching.outlook",
    "switching.placement",
    "switching._residency",
    "switching._place",
    "switching._moves",
    "switching._board",
    "switching._queues",
    "switching._switches",
    "switching._changes",
    "switching._home",
    "switching._choice",
    "switching.switcher",
    "policies",
    "checks",
    "hooks",
    "observe",
    "web",
    "record",
    "reload",
    "listening",
    "files",
    "service",
    "testing",
    "simulate",
    "tap",
    "commands",
    "cli_check",
    "cli",
    "__main__",
)

#: Rooms that know less than their height allows, and all that they know.
ALONE = {
    "errors": set[str](),
    "interfaces": set[str](),
    "config": {"errors"},
    "policies": {"interfaces", "switching.placement"},
    "hooks": {"config", "descriptors", "errors", "interfaces"},
    "observe": {"_version", "config", "errors", "interfaces"},
    "testing": {"config", "errors", "interfaces"},
    # Talks to llmux from outside.
    "commands": {"_version", "checks", "config", "errors", "tap"},
    # A model server for trials, which knows nothing of llmux.
    "demo": set[str](),
}

#: The front page names what stands in many rooms, and loads none of it.
FRONT = "llmux"

#: The longest that a file may be, in lines, and those that are longer: one
#: duty that was not to be cut in two.
LONGEST = 400
LONGER = {
    # Every value that crosses rooms, and hardly any code.
    "interfaces",
    # Every key of the configuration with its documentation.
    "config._values",
    # One state machine, its table, and its front.
    "switching._residency",
    # The front of the room, and nothing behind it.
    "switching.switcher",
}


def modules() -> dict[str, Path]:
    """
    All modules but tests, by their names without C{llmux.}.
    """
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if parts[0] != "test":
            name = ".".join(part for part in parts if part != "__init__")
            found[name or FRONT] = path
    return found


def roomOf(module: str) -> str:
    """
    The room that a module stands in.

    @raise LookupError: it stands in none.
    """
    for room in (*ROOMS, "demo", FRONT):
        if module == room or module.startswith(f"{room}."):
            return room
    raise LookupError(module)


def imports(path: Path, known: dict[str, Path]) -> set[str]:
    """
    The modules of llmux that a module imports, wherever in its text.
    """
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative imports"
            module = str(node.module)
            names = [
                inner if inner.removeprefix("llmux.") in known else module
                for inner in (f"{module}.{alias.name}" for alias in node.names)
            ]
        else:
            continue
        found.update(
            name.removeprefix("llmux.") for name in names if name.startswith("llmux")
        )
    return found


class LayerTests(SynchronousTestCase):
    """
    Rooms.
    """

    def test_downwards(self) -> None:
        """
        Nothing imports from a room above its own, or from a room that it is
        not to know of.
        """
        known = modules()
        wrong = []
        for module, path in known.items():
            if module in (FRONT, "switching"):
                continue
            room = roomOf(module)
            for other in imports(path, known):
                target = roomOf(other)
                if target == room:
                    continue
                allowed = (
                    target in ALONE[room]
                    if room in ALONE
                    else target in ROOMS and ROOMS.index(target) < ROOMS.index(room)
                )
                if not allowed:
                    wrong.append(f"{module} imports {other}")
        self.assertEqual(wrong, [])

    def test_everyModuleHasARoom(self) -> None:
        """
        Every module stands in a room of this list, and every room is there.
        """
        rooms = {roomOf(module) for module in modules() if module != "switching"}
        self.assertEqual(rooms, {*ROOMS, "demo", FRONT})

    def test_oneSwitcher(self) -> None:
        """
        Nobody but the switcher's own room knows its inner parts.
        """
        known = modules()
        wrong = [
            f"{module} imports {other}"
            for module, path in known.items()
            if not module.startswith("switching.")
            for other in imports(path, known)
            if other.startswith("switching._")
        ]
        self.assertEqual(wrong, [])


class ReactorTests(SynchronousTestCase):
    """
    The global reactor.
    """

    def test_noGlobalReactor(self) -> None:
        """
        Importing all of llmux installs no reactor: whoever embeds it, and
        C{twist --reactor}, choose their own.
        """
        names = [
            module if module == FRONT else f"llmux.{module}"
            for module in modules()
            # This is a program.
            if not module.endswith("__main__")
        ]
        code = (
            "import importlib, sys\n"
            f"for name in {names!r}:\n"
            "    try:\n"
            "        importlib.import_module(name)\n"
            "    except ModuleNotFoundError as error:\n"
            "        optional = ('matplotlib', 'opentelemetry')\n"
            "        assert error.name.split('.')[0] in optional, error\n"
            "    assert 'twisted.internet.reactor' not in sys.modules, name\n"
        )
        ran = subprocess.run(
            [sys.executable, "-c", code],
            cwd=PACKAGE.parent,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        self.assertEqual((ran.returncode, ran.stderr), (0, ""))

    def test_noneAtModuleLevel(self) -> None:
        """
        Where it is imported at all, that is inside a function that runs a
        program.
        """
        for module, path in modules().items():
            if module.endswith("__main__"):
                # A program.
                continue
            tree = ast.parse(path.read_text("utf-8"))
            inner = {
                id(node)
                for function in ast.walk(tree)
                if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
                for node in ast.walk(function)
            }
            for node in ast.walk(tree):
                self.assertFalse(
                    isinstance(node, ast.ImportFrom)
                    and node.module == "twisted.internet"
                    and any(alias.name == "reactor" for alias in node.names)
                    and id(node) not in inner,
                    module,
                )


class FileTests(SynchronousTestCase):
    """
    Files.
    """

    def test_tests(self) -> None:
        """
        The first line of each module names its tests, which exist.
        """
        for module, path in modules().items():
            text = path.read_text("utf-8")
            small = path.name in ("__init__.py", "__main__.py", "_version.py")
            if small and not text.startswith("# -*-"):
                continue
            match = re.match(r"# -\*- test-case-name: (\S+) -\*-\n", text)
            assert match is not None, f"{module} names no tests"
            for name in match[1].split(","):
                inner = Path(*name.split(".")[1:])
                there = PACKAGE / inner.with_suffix(".py")
                self.assertTrue(there.exists(), f"{module} names {name}")

    def test_short(self) -> None:
        """
        No file is long, but for a few that are known.
        """
        long = {
            module
            for module, path in modules().items()
            if len(path.read_text("utf-8").splitlines()) > LONGEST
        }
        self.assertEqual(long - LONGER, set())

    def test_future(self) -> None:
        """
        Every module that has code writes annotations in today's form.
        """
        for module, path in modules().items():
            tree = ast.parse(path.read_text("utf-8"))
            code = [
                node
                for node in ast.walk(tree)
                if isinstance(node, ast.FunctionDef | ast.AnnAssign)
            ]
            found = any(
                isinstance(node, ast.ImportFrom) and node.module == "__future__"
                for node in tree.body
            )
            self.assertTrue(found or not code, module)

    def test_public(self) -> None:
        """
        All that the package says it has is there, and nothing else is.
        """
        for name in llmux.__all__:
            self.assertTrue(hasattr(llmux, name), name)
        self.assertFalse(hasattr(llmux, "nothing"))
