"""Makes numbers of runs, and the sentences that state them."""
