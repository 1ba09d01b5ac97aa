"""What is true: datasets, runs, checkpoints, evaluations, models, skills, kept events, fences."""
