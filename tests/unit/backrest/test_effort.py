"""What large and deep documents cost: time that grows as the text does, and not faster.

Measured in comparisons of two sizes, for no machine is as fast as another.
"""

import json
import time
from collections.abc import Callable

from sidecar.backrest.document import parse_document
from sidecar.backrest.jsontext import Object, decode
from sidecar.backrest.mask import mask_texts, mask_value


def ratio(action: Callable[[str], object], small: str, large: str) -> float:
    """Return how many times longer the large text takes; of each the best of five."""

    def best(text: str) -> float:
        seconds = []
        for _ in range(5):
            began = time.process_time()
            action(text)
            seconds.append(time.process_time() - began)
        return min(seconds)

    return best(large) / best(small)


def repeating(count: int) -> str:
    """Write an object of so many keys of which one stands there twice."""
    return json.dumps({f"k{number}": 0 for number in range(count)})[:-1] + ', "k0": 1}'


def nested(depth: int) -> str:
    """Write objects in one another around a long list of texts, all in all of one size."""
    leaves = json.dumps(["x"] * 20_000)
    return '{"a":' * depth + leaves + "}" * depth


def test_one_key_that_stands_twice_costs_linear_time() -> None:
    """Eight times the keys take about eight times as long, and not sixty-four."""
    found = decode(repeating(5))
    assert isinstance(found, Object)
    assert ("k0",) == found.repeated
    assert ratio(decode, repeating(4_000), repeating(32_000)) < 40


def test_depth_costs_nothing_beyond_its_text() -> None:
    """Masking reads what is deep once, and not once for each level above it."""
    assert ratio(lambda text: mask_texts(text, text), nested(100), nested(900)) < 3


def test_a_deep_document_is_shown_as_far_as_json_can() -> None:
    """A plan may hold what Backrest passes over, nine hundred objects deep."""
    text = f'{{"plans": [{{"id": "a", "x": {nested(900)}}}]}}'
    shown = json.dumps(mask_value(parse_document(text.encode()).plans["a"]), indent=2)

    assert "a" == json.loads(shown)["id"]
    assert "nested too deep" in shown


def test_secrets_are_masked_at_every_depth() -> None:
    """In an object, in a list of it, and below a key of no name."""
    deep = '{"password": {"": [{"b": "MARK"}, ["MARK", 1, false, "", null]]}, "c": ["x"]}'
    text = '{"a":' * 50 + deep + "}" * 50
    shown, _ = mask_texts(text, text)

    assert "MARK" not in shown
    assert '["x"]' in shown
    assert '["********", "********", "********", "", null]' in shown
