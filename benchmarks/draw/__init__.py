"""Figures of rows and of what is derived from them; nothing is measured here."""
