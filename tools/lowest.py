"""
Print the lowest versions that C{setup.cfg} allows, as constraints for pip::

    python tools/lowest.py > lowest.txt
    pip install -c lowest.txt .
"""

from __future__ import annotations

import re
from configparser import ConfigParser
from pathlib import Path

SETUP = Path(__file__).parent.parent / "setup.cfg"


def main() -> None:
    """
    Print the constraints.
    """
    setup = ConfigParser()
    setup.read(SETUP, "utf-8")
    for line in setup["options"]["install_requires"].splitlines():
        bound = re.fullmatch(r"([\w.-]+) >= ([\d.]+)", line.strip())
        if bound is not None:
            # The lowest of a series: 25.4 may only be there as 25.4.16.
            name, version = bound.groups()
            print(f"{name} >= {version}, < {above(version)}")


def above(version: str) -> str:
    """
    The version after which it is another series.
    """
    *head, last = version.split(".")
    return ".".join([*head, str(int(last) + 1)])


if __name__ == "__main__":
    main()
