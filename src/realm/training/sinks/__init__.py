"""Kinds of the `sink` family."""
