"""Blocks of the init slot: first weights."""
