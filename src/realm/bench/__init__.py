"""How fast the training engine is: against its peers and against what the machine can do."""
