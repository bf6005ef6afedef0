"""Blocks of the revival slot: bringing dead latents back."""
