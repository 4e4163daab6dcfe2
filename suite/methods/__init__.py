"""How a learning method is found, made and recorded."""
