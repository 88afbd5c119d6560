# -*- test-case-name: llmux.test.test_examples_llama -*-
"""
llama.cpp's real server, and models of random numbers for it.
"""

from __future__ import annotations

import atexit
import runpy
import shutil
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from llmux.test._processes import EXAMPLES, ROOT, needsExamples, needsPrograms

__all__ = ["SERVER", "forgetModels", "needsLlama", "writeModel"]

#: Takes llama-server's options.
SERVER = EXAMPLES / "llama-cpp" / "llama_server.py"

#: The sizes of the models that L{writeModel} knows.
SIZES: dict[str, dict[str, int]] = {
    # 0.8 MB; thousands of tokens a second.
    "tiny": {},
    # 205 MB; some 40 tokens a second, so that a stream takes its time.
    "slow": {"width": 512, "layers": 12, "heads": 8, "hidden": 2048},
}

#: Made once, as the big one takes a second or two.
_made: dict[tuple[str, int, str], Path] = {}


def needsLlama() -> str | None:
    """
    Why tests with the real server have to be skipped, if they have to.
    """
    for module in ("xllamacpp", "gguf"):
        if find_spec(module) is None:
            return f"PyPI's {module} is not installed (it is in llmux[real])"
    return needsExamples() or needsPrograms("curl", "ps")


def writeModel(path: Path, seed: int, size: str = "tiny") -> None:
    """
    Put a model where it is wanted.

    @param path: C{NAME.gguf}.

    @param seed: what it is made of: another seed, another text.

    @param size: one of L{SIZES}.
    """
    key = (path.stem, seed, size)
    if key not in _made:
        tool: dict[str, Any] = runpy.run_path(str(ROOT / "tools" / "tiny_gguf.py"))
        folder = Path(tempfile.mkdtemp(prefix="llmux-models-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        made = folder / path.name
        tool["write"](str(made), seed, path.stem, **SIZES[size])
        _made[key] = made
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(_made[key])


def forgetModels() -> None:
    """
    Remove the models that were made, rather than when the process ends.
    """
    for made in _made.values():
        shutil.rmtree(made.parent, ignore_errors=True)
    _made.clear()
