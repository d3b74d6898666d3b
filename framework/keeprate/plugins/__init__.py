"""Finding plugins, checking what they offer, their parameters, and the hash of their code."""
