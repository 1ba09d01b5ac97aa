"""What a shaper of code must know: languages, syntax gates, units, and the pairs made of them."""
