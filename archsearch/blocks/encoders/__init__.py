"""Blocks of the encoder slot: from activations to pre-activations."""
