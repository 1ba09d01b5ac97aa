"""Work items as material: which are good enough, how they hang together, and how they are told."""
