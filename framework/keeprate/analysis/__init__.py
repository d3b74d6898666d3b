"""What finished runs say: tables, paired comparisons, curves, disagreement; free of torch."""
