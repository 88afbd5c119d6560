"""
llama.cpp's server, holding its places: C{python -m chaos.llama}.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from chaos.server import Book, Places
from llmux.test._llama import SERVER


def main() -> None:
    """
    C{python -m chaos.llama FOLDER NAME PORT MODEL PLACE...}.
    """
    folder, name, port, model = Path(sys.argv[1]), *sys.argv[2:5]
    Places(folder, sys.argv[5:], Book(folder / f"{name}.book")).take()
    options = ["--alias", name, "--port", port, "--model", model, "--parallel", "4"]
    program = sys.executable
    os.execv(program, [program, str(SERVER), *options, "--threads", "1"])


if __name__ == "__main__":
    main()
