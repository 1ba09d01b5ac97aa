"""Kinds of the `reward` family."""
