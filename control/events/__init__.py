"""Events made up for trying things out."""
