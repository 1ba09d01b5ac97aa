"""The skills that ship: one file is generator, grader and levels together."""
