"""TODO-package."""
