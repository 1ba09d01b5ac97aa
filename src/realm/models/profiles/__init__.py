"""Kinds of the `profile` family."""
