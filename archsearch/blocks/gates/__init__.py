"""Blocks of the gate slot: from pre-activations to codes."""
