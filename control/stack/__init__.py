"""The local stack: real servers without containers."""
