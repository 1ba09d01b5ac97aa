"""What every room shares: errors, families, config, hashes, seeds, events, records, words."""
