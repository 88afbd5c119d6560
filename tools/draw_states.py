"""
Draw the state machine of a model from the code::

    python tools/draw_states.py            # writes docs/residency.dot and .svg
    python tools/draw_states.py --check    # fails if the former is out of date

Needs PyPI's C{graphviz}, for Automat, and Graphviz's C{dot}.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

DOCS = Path(__file__).parent.parent / "docs"
MACHINE = "llmux.switching._residency"


def drawn() -> str:
    """
    The machine in the language of C{dot}: what Automat draws, in an order that
    does not change, and without what only tells how the code is written.
    """
    with TemporaryDirectory() as folder:
        subprocess.run(
            [
                # Beside the interpreter, which need not be on the PATH.
                str(Path(sys.executable).with_name("automat-visualize")),
                *("--dot-directory", folder),
                *("--image-directory", folder, MACHINE),
            ],
            check=True,
            capture_output=True,
            cwd=DOCS.parent,
        )
        (path,) = Path(folder).glob("*.dot")
        text = path.read_text("utf-8")
    inputs = dict(re.findall(r'^\t(t\d+) \[.*?italic">(\w+)</font>', text, re.M))
    sources = re.findall(r"^\t(\w+) -> (t\d+):", text, re.M)
    targets = dict(re.findall(r"^\t(t\d+):\S+ -> (\w+)", text, re.M))
    edges = sorted(
        f'    {source} -> {targets[name]} [label="{inputs[name].strip("_")}"];'
        for source, name in sources
    )
    return "\n".join(
        [
            "digraph residency {",
            "    rankdir=TB;",
            '    node [shape=box, style=rounded, fontname="sans-serif"];',
            '    edge [fontname="sans-serif", fontsize=10];',
            "    unknown [penwidth=2];",
            *edges,
            "}",
            "",
        ]
    )


def main() -> int:
    """
    Write the pictures, or see whether they are up to date.

    @return: the exit status.
    """
    text = drawn()
    dot = DOCS / "residency.dot"
    if "--check" in sys.argv[1:]:
        if dot.read_text("utf-8") == text:
            return 0
        print("docs/residency.dot is out of date: run tools/draw_states.py")
        return 1
    dot.write_text(text, "utf-8")
    with (DOCS / "residency.svg").open("wb") as picture:
        subprocess.run(["dot", "-Tsvg", str(dot)], check=True, stdout=picture)
    return 0


if __name__ == "__main__":
    sys.exit(main())
