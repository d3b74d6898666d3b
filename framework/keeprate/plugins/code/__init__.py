"""The code of a plugin as a part of a run's identity: what it reaches, and the hash of it."""
