"""One matrix on many workers: `suite run --on`, on Dask (the extra `[cluster]`)."""
