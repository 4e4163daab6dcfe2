"""What is read off stored runs: numbers, tables, pages."""
