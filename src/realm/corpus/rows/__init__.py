"""Rows of other tools: readers of their files, shapes of their rows, and the documents they become."""
