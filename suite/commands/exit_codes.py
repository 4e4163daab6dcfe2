"""What the process `suite` may end with."""

from __future__ import annotations

EXIT_DIVERGED = 1
EXIT_UNFAIR = 1
EXIT_REGRESSED = 1
EXIT_UNSOUND = 1
EXIT_USER_ERROR = 2
EXIT_HELD = 3
EXIT_FAULT = 70
EXIT_INTERRUPTED = 130
EXIT_CLOSED_PIPE = 141

EXIT_CODES = """
Exit codes:

\b
0    all done
1    it ran to its end, but a seed diverged, an audit or a check failed, or a method became worse
2    bad input, or a file that cannot be read or written
3    `suite run --no-wait` left jobs to other processes
70   a fault in the program or in a method's own code
130  interrupted; a run had saved what it did, unless it was interrupted twice
141  whoever read the output closed it
143  ended by SIGTERM while not training, or by a second one
"""
"""As `--help` and README.md tell them."""
