"""Analyse finished runs: tables, paired comparisons, curves, disagreement; without torch."""
