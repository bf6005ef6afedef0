"""Blocks of the op slot: plumbing."""
