"""Scripts for a machine with a GPU; README.md says what each of them answers.

Importing the package settles where compiled programs are kept, because JAX reads that
once, when it is imported itself.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from suite.common import jax_settings

SCRATCH = Path(tempfile.gettempdir()) / "gorl-suite-gpu"
"""Where compiled programs stay between two calls."""

os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(SCRATCH / "jax-cache"))
jax_settings.prepare()
