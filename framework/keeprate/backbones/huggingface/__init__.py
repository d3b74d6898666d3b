"""Families of models of transformers, one module each."""
