"""Reads stored runs: what there is, called what, and amiss."""
