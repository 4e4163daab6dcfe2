"""Whether stored numbers agree, within a run and between runs."""
