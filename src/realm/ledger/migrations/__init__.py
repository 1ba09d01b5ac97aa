"""The history of the ledger's schema, one file a change; run by `realm.ledger.schema`."""
