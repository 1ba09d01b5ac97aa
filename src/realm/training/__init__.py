"""One run of training in a child process: recipe and rows in, staged checkpoints out."""
