"""Other authors' methods, on the parts of `algorithms/parts`: one method a file."""
