"""Where bytes live: content-named folders, published whole or not at all."""
