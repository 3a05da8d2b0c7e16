"""Migrations and maintenance of the database."""
