"""The clients that mean harm, or do it, for as long as a run lasts."""

from hostile_grpc import (
    announced, empty_parts, grpc_heads, huge_empty_shapes, map_keys, reflections, silent_grpc, watches, window_of_zero,
)
from hostile_http import (
    answers_unread, bad, bombs, changes, contexts, empty_arrays, empty_strings, endless_body_behind_404, large_heads, leaving, mute_urls,
    one_byte_then_silence, pipelined_and_unread, silent_bodies, slow_model, trickle,
)

# What clients of every day do wrong.
EVERYDAY = [leaving, bad, trickle, slow_model, changes, silent_bodies, answers_unread, bombs]
# The worst of all kinds.
WORST = [
    silent_bodies, large_heads, pipelined_and_unread, answers_unread, one_byte_then_silence, endless_body_behind_404, bombs,
    empty_arrays, empty_strings, contexts, trickle, leaving, bad, slow_model, changes, announced, map_keys, empty_parts, grpc_heads,
    window_of_zero, reflections, watches, silent_grpc, huge_empty_shapes,
]
