"""Rows that a served model helps to make: what it is asked, what is kept, and what is believed."""
