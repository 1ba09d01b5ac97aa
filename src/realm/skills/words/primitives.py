"""The seven primitives of word puzzles; the first five are also asked in plain words."""

from __future__ import annotations

from realm.skills.skill import PrimitiveInfo

INFOS = {
    info.name: info
    for info in (
        PrimitiveInfo(
            name="syllable_assembly_ordered",
            display_name="Syllables in order",
            description="join syllables that stand in their order",
            difficulty=2,
        ),
        PrimitiveInfo(
            name="syllable_assembly_shuffled",
            display_name="Syllables out of order",
            description="put shuffled syllables in order",
            difficulty=4,
        ),
        PrimitiveInfo(
            name="syllable_count",
            display_name="Counting syllables",
            description="say how many syllables a word has",
            difficulty=3,
        ),
        PrimitiveInfo(
            name="definition_to_word",
            display_name="Word by definition",
            description="find a word by a clue and its number of letters",
            difficulty=7,
        ),
        PrimitiveInfo(
            name="word_from_bank",
            display_name="Word from a bank",
            description="choose the word that a clue means",
            difficulty=3,
        ),
        PrimitiveInfo(
            name="multi_word_assembly",
            display_name="Several words",
            description="find several words that share one bank of syllables",
            difficulty=8,
        ),
        PrimitiveInfo(
            name="json_output_format",
            display_name="Exact JSON",
            description="find several words and answer in exactly the JSON asked for",
            difficulty=9,
        ),
    )
}
