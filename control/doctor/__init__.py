"""Checks of the machine and the servers."""
