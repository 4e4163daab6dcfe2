"""How fast things are, here and beside other programs; ratios are of one run."""
