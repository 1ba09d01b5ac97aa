"""Which rows say the same, or nearly the same."""
