"""Blocks of the decoder slot: from codes to reconstructions."""
