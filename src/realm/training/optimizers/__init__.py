"""Kinds of the `optimizer` family."""
