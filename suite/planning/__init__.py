"""What a command would do: checked, nothing trained yet."""
