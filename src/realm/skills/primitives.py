"""The primitive catalogue: 39 things that can be got right or wrong, on five tracks."""

from __future__ import annotations

CATALOGUE: dict[str, dict[str, tuple[str, ...]]] = {
    "arithmetic": {
        "arithmetic": ("digit_sum", "parity", "compare_integers", "modulo", "operation_map"),
        "sequence": ("arithmetic", "geometric", "fibonacci", "alternating", "square"),
        "counting": ("count_objects",),
    },
    "binary": {
        "bin": (
            "binary_add_no_carry",
            "binary_add_with_carry",
            "binary_sub_no_borrow",
            "binary_sub_with_borrow",
            "bitwise_and",
            "bitwise_or",
            "bitwise_xor",
            "binary_compare",
            "binary_to_decimal",
            "decimal_to_binary",
        ),
    },
    "logic": {
        "logic": (
            "truth_table_basic",
            "xor_vs_or",
            "de_morgan",
            "implication",
            "biconditional",
            "contraposition",
            "syllogism",
        ),
    },
    "string": {
        "string_craft": ("reverse_string", "palindrome_check", "substring_check", "sort_letters"),
        "counting": ("string_length", "count_char"),
    },
    "code": {
        "code_trace": (
            "trace_assignment",
            "trace_if_else",
            "trace_loop_fixed",
            "eval_bool_expr",
            "function_call_trace",
        ),
    },
}
"""Track → skill → its primitives on that track, which name the track in their `PrimitiveInfo`."""
