"""Hook points of the bundled model, so that a misspelt one is found without opening it; a test compares them with the model's own."""

from __future__ import annotations

NUM_BLOCKS = 4

_ENDS = """
embed.hook_in embed.hook_out hook_embed hook_pos_embed hook_unembed ln_final.hook_in ln_final.hook_normalized ln_final.hook_out
ln_final.hook_scale rotary_emb.hook_cos rotary_emb.hook_in rotary_emb.hook_out rotary_emb.hook_sin unembed.hook_in unembed.hook_out
"""

_IN_A_BLOCK = """
attn.hook_attn_in attn.hook_attn_scores attn.hook_cos attn.hook_hidden_states attn.hook_in attn.hook_k attn.hook_k_input attn.hook_out
attn.hook_pattern attn.hook_q attn.hook_q_input attn.hook_result attn.hook_rot_k attn.hook_rot_q attn.hook_sin attn.hook_v
attn.hook_v_input attn.hook_z attn.k.hook_in attn.k.hook_out attn.o.hook_in attn.o.hook_out attn.q.hook_in attn.q.hook_out
attn.qkv.hook_in attn.qkv.hook_out attn.v.hook_in attn.v.hook_out hook_attn_in hook_attn_out hook_in hook_k_input hook_mlp_in
hook_mlp_out hook_out hook_q_input hook_resid_mid hook_resid_post hook_resid_pre hook_v_input ln1.hook_in ln1.hook_normalized
ln1.hook_out ln1.hook_scale ln2.hook_in ln2.hook_normalized ln2.hook_out ln2.hook_scale mlp.hook_in mlp.hook_out mlp.hook_post
mlp.hook_pre mlp.in.hook_in mlp.in.hook_out mlp.out.hook_in mlp.out.hook_out
"""

BUNDLED_HOOKS = (*_ENDS.split(), *(f"blocks.{block}.{name}" for block in range(NUM_BLOCKS) for name in _IN_A_BLOCK.split()))
"""All of them, as TransformerLens 4.3 names them."""
