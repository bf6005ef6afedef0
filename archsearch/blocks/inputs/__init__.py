"""Blocks of the input slot: scaling of activations."""
