"""Blocks of the controller slot: what moves sparsity while training goes on."""
