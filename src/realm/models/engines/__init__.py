"""Engines that implement `Generator`."""
