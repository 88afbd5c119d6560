"""
Bytes made up for everything that parses what others send, led by what they
reach: C{python -m chaos.fuzz [TARGET...] [--seconds N] [--seed N]}.

It needs C{atheris}.  It begins with C{llmux/test/corpus}; what breaks a promise
is put there, so that it is a test from then on.
"""

from __future__ import annotations

import os
import subprocess
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

CORPUS = Path(__file__).parent.parent / "llmux" / "test" / "corpus"

#: Run in a process of its own, which does not come back.
_CHILD = """
import sys
import atheris
with atheris.instrument_imports(include=["llmux"]):
    from llmux.test._fuzz import tried
name = sys.argv.pop(1)
atheris.Setup(sys.argv, lambda data: tried(name, data))
atheris.Fuzz()
"""


def fuzzed(name: str, seconds: int, seed: int) -> bool:
    """
    Make up bytes for one target.

    @param seed: what they begin with; 0 for something else each time.
    @return: whether no promise was broken.
    """
    with TemporaryDirectory() as folder:
        ran = subprocess.run(
            [
                *(sys.executable, "-c", _CHILD, name, folder, str(CORPUS / name)),
                f"-max_total_time={seconds}",
                f"-seed={seed}",
                "-max_len=4096",
                "-timeout=20",
                f"-artifact_prefix={CORPUS / name}/found-",
            ],
            env={**os.environ, "PYTHONPATH": str(CORPUS.parents[2])},
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    lines = (ran.stderr + ran.stdout).splitlines()
    said = [line for line in lines if line.startswith(("#", "Done "))][-1:]
    print(f"{name}: {'well' if ran.returncode == 0 else 'BROKEN'}  {said}", flush=True)
    if ran.returncode:
        print("\n".join(lines[-40:]))
    return ran.returncode == 0


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Make up bytes for all targets, or for some.

    @return: the exit status: 0 if no promise was broken.
    """
    parser = ArgumentParser(prog="python -m chaos.fuzz", description=__doc__)
    names = sorted(path.name for path in CORPUS.iterdir())
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(names))
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--seed", type=int, default=0, help="0: another each time")
    options = parser.parse_args(arguments)
    unknown = set(options.targets) - set(names)
    if unknown:
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    wanted = options.targets or names
    broken = [
        name for name in wanted if not fuzzed(name, options.seconds, options.seed)
    ]
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
