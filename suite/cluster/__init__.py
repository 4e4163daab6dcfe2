"""One matrix on many workers, through Dask."""
