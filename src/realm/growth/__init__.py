"""Pure rules that turn ledger facts into a hero's growth."""
