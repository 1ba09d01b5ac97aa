"""What the scrubber looks for, how it looks, and what people decided."""
