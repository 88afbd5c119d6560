"""
Draw a flame graph from what C{py-spy record --format raw} writes: as wide as
its share of the time is each function, above the one that called it.

    python tools/draw_flames.py STACKS TITLE >docs/pictures/NAME.svg
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from html import escape
from pathlib import Path

from attrs import define, field

WIDTH = 960
HEIGHT = 15

#: What takes less than this share is left out.
LEAST = 0.004

#: Whose code a function is, by its file, and in which colour that is shown.
COLOURS = (
    ("llmux/", "#f4a259"),
    ("twisted/", "#8cb9bd"),
    ("prometheus_client/", "#bc96e6"),
    ("", "#cccccc"),
)


@define
class Frame:
    """
    A function where it was called from, and how often it was seen there.
    """

    name: str
    count: int = 0
    inner: dict[str, Frame] = field(factory=dict)


def read(lines: Iterator[str] | list[str]) -> Frame:
    """
    Put stacks together.
    """
    root = Frame("all")
    for line in lines:
        stack, _, count = line.rpartition(" ")
        # Those of the reactor are the same in all.
        names = [re.sub(r":\d+\)$", ")", name) for name in stack.split(";")]
        starts = [
            at
            for at, name in enumerate(names)
            if name.startswith("ReactorBase.mainLoop")
        ]
        frame = root
        frame.count += int(count)
        for name in names[starts[0] :] if starts else names:
            frame = frame.inner.setdefault(name, Frame(name))
            frame.count += int(count)
    return root


def depth(frame: Frame, least: float) -> int:
    """
    How many are above each other.
    """
    shown = [one for one in frame.inner.values() if one.count >= least]
    return 1 + max((depth(one, least) for one in shown), default=0)


def draw(frame: Frame, total: int, x: float, level: int, top: int) -> Iterator[str]:
    """
    Draw a function and those that it called.
    """
    width = WIDTH * frame.count / total
    y = top - level * HEIGHT
    colour = next(
        colour for place, colour in COLOURS if f"({place}" in frame.name or not place
    )
    share = 100 * frame.count / total
    yield (
        f"<g><title>{escape(frame.name)}: {share:.1f} %</title>"
        f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{HEIGHT - 1}" '
        f'fill="{colour}"/>'
    )
    letters = int(width / 6)
    if letters > 3:
        label = frame.name.partition(" (")[0]
        short = label if len(label) <= letters else label[: letters - 1] + "…"
        yield f'<text x="{x + 2:.1f}" y="{y + 11}">{escape(short)}</text>'
    yield "</g>"
    for one in sorted(frame.inner.values(), key=lambda one: -one.count):
        if one.count >= LEAST * total:
            yield from draw(one, total, x, level + 1, top)
        x += WIDTH * one.count / total


def main(path: str, title: str) -> None:
    """
    Write the picture to the standard output.
    """
    root = read(Path(path).read_text("utf-8").splitlines())
    levels = depth(root, LEAST * root.count)
    height = (levels + 2) * HEIGHT
    print(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        'font-family="monospace" font-size="10">'
    )
    print('<rect width="100%" height="100%" fill="#ffffff"/>')
    print(f'<text x="2" y="12" font-size="12">{escape(title)}</text>')
    print("\n".join(draw(root, root.count, 0.0, 1, height - HEIGHT)))
    print("</svg>")


if __name__ == "__main__":
    main(*sys.argv[1:])
