"""Parts of suites: one module a kind; see `realm.evaluation.task`."""
