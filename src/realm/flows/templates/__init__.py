"""Campaign templates: one `realm.yaml` each."""
