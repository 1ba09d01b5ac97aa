"""Checks: one module a kind; see `realm.corpus.check`."""
