"""Families of models of timm, one module each."""
