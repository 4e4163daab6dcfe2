"""Whether the numbers that are stored of a run agree with each other, and with other runs'."""
