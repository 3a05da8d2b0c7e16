"""Runs of a job beside the live one: where they write, and what that is compared with."""
