"""New methods against stored ones, and runs, within a margin."""
