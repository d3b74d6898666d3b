"""Pictures of what methods do to an image, and of how their rankings converge."""
