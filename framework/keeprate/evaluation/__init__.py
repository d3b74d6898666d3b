"""Runs are computed here: passes over the data, their rows, engines and progress."""
