"""Models by name: loaded with their weights, or their shapes alone, without them."""
