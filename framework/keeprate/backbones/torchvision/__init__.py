"""Families of models of torchvision, one module each."""
