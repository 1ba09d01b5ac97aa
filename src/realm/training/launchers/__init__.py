"""Kinds of the `launcher` family."""
