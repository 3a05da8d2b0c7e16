"""The contract of events: schemas in git, the rules they evolve by, and the registry."""
