"""Work done by a model with tools, in a sandbox, and the checks of what came of it."""
