from __future__ import annotations

from realm.skills.primitives import CATALOGUE
from realm.skills.skill import SKILLS

SHIPPED = ("arithmetic", "bin", "binary_arithmetic", "code_trace", "combinatorics", "counting")
SHIPPED += ("language_basics", "logic", "memory", "sequence", "string_craft", "sy", "word_puzzles")


def test_the_catalogue_has_39_primitives_on_five_tracks() -> None:
    sizes = {track: sum(map(len, skills.values())) for track, skills in CATALOGUE.items()}
    assert sizes == {"arithmetic": 11, "binary": 10, "logic": 7, "string": 6, "code": 5}
    names = [name for skills in CATALOGUE.values() for listed in skills.values() for name in listed]
    assert len(set(names)) == 39


def test_every_catalogue_primitive_is_shipped_on_its_track_and_no_other_is() -> None:
    listed = {
        (track, skill, name)
        for track, skills in CATALOGUE.items()
        for skill, names in skills.items()
        for name in names
    }
    told = {
        (info.track, skill, info.name)
        for skill in SHIPPED
        for info in SKILLS.build(skill).primitives()
        if info.track
    }
    assert listed <= told
    shared = {(track, name) for track, _, name in listed}
    assert {(track, name) for track, _, name in told} == shared


def test_all_skills_of_the_package_are_looked_at() -> None:
    assert set(SHIPPED) <= set(SKILLS.names())
    assert set(SKILLS.names()) - set(SHIPPED) <= {"file", "http", "reasoning_gym"}
