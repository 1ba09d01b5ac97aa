"""From suites of held-out problems to scores, intervals and the gate's decision."""
