"""Blocks of the level slot: codes at several levels."""
