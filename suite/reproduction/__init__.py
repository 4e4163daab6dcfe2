"""Stored numbers made again, by playing or by training."""
