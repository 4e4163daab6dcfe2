"""Whether a comparison was fair: checks, and the verdict."""
