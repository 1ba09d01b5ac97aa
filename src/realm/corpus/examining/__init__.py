"""Rows shown to checks, and what checks measure."""
