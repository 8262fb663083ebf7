"""What of a caption is new, against a search of all training captions."""

from itertools import product

from dmtool.measure.alignment.novelty import STOP, novelty

TRAINING = ["Red heart", "man pilot: dark skin tone", "a flag of Spain", "woman pilot", "blue"]


def test_words_together_apart_and_unknown():
    expected = {
        "red heart": "seen",
        "heart": "seen",
        "the heart is RED": "seen",
        "blue heart": "unseen_composition",
        "woman pilot: dark skin tone": "unseen_composition",
        "flag of Italy": "unseen_concept",
        "flag: Spain": "seen",
        "": "seen",
    }
    assert dict(zip(expected, novelty(list(expected), TRAINING), strict=True)) == expected
    assert novelty(["red"], []).tolist() == ["unseen_concept"]


def test_of_words_it_is_what_a_search_of_all_captions_finds():
    words = ["red", "heart", "man", "pilot", "dark", "blue", "woman", "green"]
    captions = [" ".join(pair) for pair in product(words, repeat=2)]
    bags = [set(c.lower().replace(":", "").split()) - STOP for c in TRAINING]
    for caption, found in zip(captions, novelty(captions, TRAINING), strict=True):
        asked = set(caption.split())
        if asked - set.union(*bags):
            assert found == "unseen_concept"
        else:
            assert (found == "seen") == any(asked <= bag for bag in bags)


def test_of_shapes_it_is_colours_bound_to_shapes():
    training = [
        "a large red circle left of a small blue square on a white ground",
        "a small green star on a black ground",
    ]
    expected = {
        "a small red circle on an orange ground": "seen",
        "a small blue square above a large green star on a black ground": "seen",
        "a large blue circle on a white ground": "unseen_composition",
        "a large red circle left of a small green square on a white ground": "unseen_composition",
        "a large red triangle on a white ground": "unseen_concept",
    }
    assert dict(zip(expected, novelty(list(expected), training), strict=True)) == expected
