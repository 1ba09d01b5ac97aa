"""Word puzzles: a lexicon, its clues and syllables, and how puzzles are laid out and answered."""
