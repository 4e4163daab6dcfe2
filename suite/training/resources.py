"""What a start of `suite run` used up: time and memory, for its entry in run.json."""

from __future__ import annotations

import contextlib
import re
import sys
from pathlib import Path
from typing import Any

_CLEAR = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")


def forget_peak() -> None:
    """Lets `peak_memory` begin anew, where the system can (Linux); else it covers the process."""
    with contextlib.suppress(OSError):
        _CLEAR.write_text("5")


def peak_memory() -> int | None:
    """Returns the most bytes of main memory that this process held, None where unknown."""
    with contextlib.suppress(OSError):
        match = re.search(r"^VmHWM:\s*(\d+) kB$", _STATUS.read_text(), flags=re.MULTILINE)
        if match:
            return 1024 * int(match[1])
    with contextlib.suppress(ImportError):
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else 1024 * peak
    return None


def peak_device_memory() -> int | None:
    """Returns the most bytes that any device held since the process began, None where unknown."""
    import jax

    statistics: list[dict[str, Any]] = [
        device.memory_stats() or {} for device in jax.local_devices()
    ]
    return max((each.get("peak_bytes_in_use", 0) for each in statistics), default=0) or None
