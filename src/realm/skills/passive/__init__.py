"""Skills that are tables: spaces of operands, questions about them, and the skill that follows."""
