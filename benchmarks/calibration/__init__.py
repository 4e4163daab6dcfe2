"""Our programs beside the ones that published curves come from."""
