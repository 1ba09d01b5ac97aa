"""The game's words for the field's terms. The only place where the two meet.

Code, ledger, JSON and logs use the field's term. Views for people call `word`.
"""

from __future__ import annotations

WORDS: dict[str, str] = {
    "model": "hero",
    "run": "battle",
    "skill": "skill",
    "dataset": "quest scroll",
    "queue": "quest board",
    "checkpoint": "memory crystal",
    "champion": "champion",
    "promotion": "coronation",
    "gate": "trial",
    "appraisal": "blessing",
    "strong": "blessed",
    "partial": "half blessed",
    "weak": "cursed",
    "health_check": "ritual",
    "evaluation": "examination",
    "inverse_loss": "ATK",
    "inverse_validation_loss": "DEF",
    "accuracy": "ACC",
    "experience": "XP",
    "correct_answers": "gold",
    "level": "level",
    "base": "newborn",
}


def word(term: str) -> str:
    """Return the game's word for a term. Raises KeyError for a term nobody named."""
    return WORDS[term]
