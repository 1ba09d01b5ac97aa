"""Migrations, numbered in the order in which they apply."""
