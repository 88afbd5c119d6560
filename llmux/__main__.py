"""
C{python -m llmux}: the same as C{llmux}.
"""

import sys

from llmux.cli import main

sys.exit(main())
