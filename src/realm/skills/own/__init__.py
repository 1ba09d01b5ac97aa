"""Skills that people bring: what those from a file, a server or another library share."""
