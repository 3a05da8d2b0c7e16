"""The `sluice` command: thin, it only talks to the person."""
