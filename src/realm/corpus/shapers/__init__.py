"""Shapers: one module a kind; see `realm.corpus.shaper`."""
