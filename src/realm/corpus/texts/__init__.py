"""Texts and their words: sections, fences, formulas, tokens to compare."""
