"""What a build settles about its rows: which stay, how they part, what came of them."""
