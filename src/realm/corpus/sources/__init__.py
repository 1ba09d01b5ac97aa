"""Sources: one module a kind; see `realm.corpus.source`."""
