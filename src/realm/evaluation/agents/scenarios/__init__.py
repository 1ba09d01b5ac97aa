"""Scenarios that come with the package: one file a suite."""
