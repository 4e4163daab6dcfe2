"""Draws the numbers as figures, one file a subject."""
