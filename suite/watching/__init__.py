"""Clips of what stored policies do, side by side."""
