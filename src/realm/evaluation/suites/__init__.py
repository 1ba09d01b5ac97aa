"""Suite files that come with the package."""
