"""Kinds of the `method` family."""
