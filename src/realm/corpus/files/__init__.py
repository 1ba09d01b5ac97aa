"""Files and folders from outside, read strictly and within bounds."""
