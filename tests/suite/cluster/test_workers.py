"""The process that trains on a worker, as it is started."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from suite.cluster import workers


def test_a_trainer_is_this_package_s_wherever_the_command_is_typed(tmp_path: Path) -> None:
    (tmp_path / "suite").mkdir()
    (tmp_path / "suite" / "__init__.py").write_text("raise SystemExit('another suite')\n")
    process = subprocess.run(
        [sys.executable, *workers.PROGRAM],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,  # whoever started it is gone: it ends
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (process.returncode, process.stderr) == (0, "")
