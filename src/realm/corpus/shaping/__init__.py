"""What shapers share."""
