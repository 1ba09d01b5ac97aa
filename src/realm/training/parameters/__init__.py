"""Kinds of the `parameters` family."""
