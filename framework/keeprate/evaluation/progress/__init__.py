"""How a running study is shown to people."""
