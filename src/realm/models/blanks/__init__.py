"""Kinds of the `blank` family."""
