"""Kinds of the `teacher` family."""
