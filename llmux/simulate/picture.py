# -*- test-case-name: llmux.test.test_simulate_picture -*-
"""
Draws who was awake when, and who waited.

Needs matplotlib, which the extra C{simulate} brings.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any

from llmux.errors import ConfigError
from llmux.simulate.report import Change, Report

#: What each state looks like.  Colours that those who cannot tell red from
#: green can tell apart.
COLOURS = {
    "waking": "#e69f00",
    "awake": "#56b4e9",
    "draining": "#0072b2",
    "sleeping": "#cc79a7",
    "cooling": "#999999",
    "stuck": "#000000",
}


def stretches(
    changes: Sequence[Change], end: float
) -> Iterator[tuple[str, float, float]]:
    """
    Tell from the changes of one model what it did when.

    @param end: when the simulation was over.
    @return: states with their beginning and end, without those of no length
        and without the time asleep.
    """
    state, since = "asleep", 0.0
    for change in changes:
        if change.state != state:
            if state in COLOURS and change.at > since:
                yield state, since, change.at
            state, since = change.state, change.at
    if state in COLOURS and end > since:
        yield state, since, end


def draw(reports: Sequence[Report], path: str) -> None:
    """
    Draw the timelines of reports, one below the other, on one axis of time.

    @param reports: made with C{timeline=True}.
    @param path: the file to write; its extension chooses the format: C{.png},
        C{.svg} or C{.pdf}.
    @raise ConfigError: matplotlib is not there, or the file cannot be
        written.
    """
    try:
        figure = import_module("matplotlib.figure")
        patches = import_module("matplotlib.patches")
    except ImportError as error:
        raise ConfigError.one(
            "pictures need matplotlib: pip install 'llmux[simulate]'"
        ) from error
    models = list(reports[0].byModel)
    # No pyplot: it would look for a display, and keep the figure.
    sheet = figure.Figure(
        figsize=(12, 1 + len(reports) * (1 + 0.5 * len(models))), layout="constrained"
    )
    panels = sheet.subplots(len(reports), 1, sharex=True, squeeze=False)
    for report, (axes,) in zip(reports, panels, strict=True):
        _panel(axes, report, models)
    panels[-1][0].set_xlabel("seconds")
    sheet.legend(
        handles=[
            *(
                patches.Patch(color=colour, label=state)
                for state, colour in COLOURS.items()
                if state not in ("cooling", "stuck")
            ),
            patches.Patch(
                color="#d55e00", alpha=0.6, label="waiting (height: how many)"
            ),
        ],
        loc="outside lower center",
        ncols=5,
        frameon=False,
    )
    try:
        sheet.savefig(path)
    except (OSError, ValueError) as error:
        raise ConfigError.one(
            f"the picture cannot be written: {error}", file=path
        ) from error


def _panel(axes: Any, report: Report, models: Sequence[str]) -> None:
    most = max((change.waiting for change in report.timeline), default=0)
    for row, model in enumerate(models):
        changes = [change for change in report.timeline if change.model == model]
        for state, since, until in stretches(changes, report.seconds):
            axes.broken_barh(
                [(since, until - since)], (row + 0.05, 0.4), color=COLOURS[state]
            )
        if most:
            times = [0.0, *(change.at for change in changes), report.seconds]
            queue = [0, *(change.waiting for change in changes), 0]
            axes.fill_between(
                times,
                [row + 0.95] * len(times),
                [row + 0.95 - 0.45 * count / most for count in queue],
                step="post",
                color="#d55e00",
                alpha=0.6,
                linewidth=0,
            )
    axes.set_yticks([row + 0.5 for row in range(len(models))], models)
    axes.set_ylim(len(models), 0)
    axes.set_title(
        f"{report.policy}: {report.switches} switches, mean wait "
        f"{report.waits.mean:.1f} s, longest {report.waits.max:.0f} s",
        loc="left",
        fontsize="medium",
    )
