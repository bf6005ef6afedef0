"""Blocks of the optimizer slot: update rules."""
