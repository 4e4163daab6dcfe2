"""Runs as a tidy table, and for experiment trackers."""
