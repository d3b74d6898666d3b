"""Proof that keeprate runs a model right: of one in full, of all that timm knows, as a page."""
