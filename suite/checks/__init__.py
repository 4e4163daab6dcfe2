"""What `suite check-algo` asks of a method, one theme a file."""
