"""What a new method is against stored ones, within a margin, and how many seeds would tell."""
