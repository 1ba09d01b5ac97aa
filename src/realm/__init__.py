"""A self-hosted lab in which a language model keeps getting better at its owner's work."""

__version__ = "0.1.0"
