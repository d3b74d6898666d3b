"""The promises of a method, check by check."""
