"""Drills that can be generated and graded, and the rules by which levels are mastered."""
