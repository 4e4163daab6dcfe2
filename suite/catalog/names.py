"""Names of methods, for reports, which may not import the methods themselves."""

from algorithms.names import CONTROLS as CONTROLS
