"""Blocks of the loss slot: terms of the loss."""
