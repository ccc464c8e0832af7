"""The same question on the same picture twice, the same picture in two splits, and pictures that look alike.

Keys are 64-bit digests, so that a set of 400,000 rows takes a few megabytes; two different keys among so many collide
with a probability below 1e-8. Pictures look alike when their perceptual hashes (`picture_check.perceptual_hash`) differ
in at most 4 of 64 bits: not in the paper, our choice, because on generated photographs 0.3 to 0.7 of the size, JPEG
quality 50 or a tenth more light changed 0 to 4 bits, and two photographs differed in 19 or more. A page of text at
another size changes in as many bits as two pages differ in (12), so likeness alone sets no row aside.

>>> seen = FirstSeen()
>>> seen.add(key_of("a"), 1), seen.add(key_of("b"), 2), seen.add(key_of("a"), 3)
(None, None, 1)
"""

import hashlib
from collections.abc import Iterator

import numpy as np

__all__ = ["NEAR", "FirstSeen", "distances", "first_alike", "key_of", "near_duplicates", "question_key"]

NEAR = 4  # bits of 64
AT_ONCE = 8192  # keys that wait in a dict before they are sorted in
# Neighbours in a band that are compared: bounds the time on a million hashes of one pattern.
FARTHEST = 10_000
_ONES = np.array([i.bit_count() for i in range(1 << 16)], np.uint8)


def key_of(*parts: str | bytes) -> int:
    """64-bit digest of texts or bytes; where one ends and the next begins counts."""
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        content = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        digest.update(len(content).to_bytes(8, "big") + content)
    return int.from_bytes(digest.digest(), "big")


def question_key(question: str) -> int:
    """Key of a question; case and white space do not count."""
    return key_of(" ".join(question.casefold().split()))


class FirstSeen:
    """Where each key was added first: 16 bytes a key."""

    def __init__(self) -> None:
        self._keys = np.empty(0, np.uint64)
        self._places = np.empty(0, np.int64)
        self._new: dict[int, int] = {}

    def get(self, key: int) -> int | None:
        """Place at which a key was added, None if it was not."""
        if key in self._new:
            return self._new[key]
        at = int(np.searchsorted(self._keys, np.uint64(key)))
        found = at < len(self._keys) and int(self._keys[at]) == key
        return int(self._places[at]) if found else None

    def add(self, key: int, place: int) -> int | None:
        """Add a key unless it is there; returns the place of an earlier one, None if it is new."""
        first = self.get(key)
        if first is None:
            self._new[key] = place
            if len(self._new) >= AT_ONCE:
                self._sort_in()
        return first

    def _sort_in(self) -> None:
        keys = np.fromiter(self._new, np.uint64, len(self._new))
        places = np.fromiter(self._new.values(), np.int64, len(self._new))
        order = np.argsort(keys)
        at = np.searchsorted(self._keys, keys[order])
        self._keys = np.insert(self._keys, at, keys[order])
        self._places = np.insert(self._places, at, places[order])
        self._new = {}


def distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Number of bits in which 64-bit hashes differ, pair by pair, uint8.

    >>> distances(np.array([0b111, 0], np.uint64), np.array([0b001, 0], np.uint64)).tolist()
    [2, 0]
    """
    words = np.ascontiguousarray(a ^ b).view(np.uint16).reshape(-1, 4)
    return _ONES[words].sum(axis=1, dtype=np.uint8)


def near_duplicates(hashes: np.ndarray, threshold: int = NEAR) -> np.ndarray:
    """For each picture the earliest one that looks like it.

    Hashes that differ in at most `threshold` bits agree in one of `threshold + 1` bands of bits; only hashes that
    agree in a band are compared, each with the next 10,000 in it at most.

    Args:
        hashes: (n,) uint64, perceptual hashes in the order of the rows.

    Returns:
        (n,) int64, the least index whose hash differs in at most `threshold` bits, or -1 where that is itself.

    >>> near_duplicates(np.array([0, 255, 1, 0, 254], np.uint64)).tolist()
    [-1, -1, 0, 0, 1]
    """
    distinct, first, member = np.unique(hashes, return_index=True, return_inverse=True)
    earliest = first.astype(np.int64)
    for left, right in _close_pairs(distinct, threshold):
        np.minimum.at(earliest, left, first[right])
        np.minimum.at(earliest, right, first[left])
    found = earliest[member.reshape(-1)]
    return np.where(found < np.arange(len(hashes)), found, -1)


def first_alike(hashes: np.ndarray, others: np.ndarray, threshold: int = NEAR) -> np.ndarray:
    """For each picture the least index of those `others` whose hash differs in at most `threshold` bits, or -1.

    >>> first_alike(np.array([254, 2**40 - 1], np.uint64), np.array([0, 255, 255], np.uint64)).tolist()
    [1, -1]
    """
    found = near_duplicates(np.concatenate([others, hashes]), threshold)[len(others) :]
    return np.where(found < len(others), found, -1)


def _close_pairs(hashes: np.ndarray, threshold: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Index pairs of distinct hashes within the threshold; a pair may come once a band."""
    edges = np.linspace(0, 64, threshold + 2).astype(int)
    for start, stop in zip(edges[:-1], edges[1:], strict=True):
        bands = (hashes >> np.uint64(start)) & np.uint64((1 << int(stop - start)) - 1)
        order = np.argsort(bands, kind="stable")
        bands, sorted_hashes = bands[order], hashes[order]
        left = np.arange(len(hashes))
        for offset in range(1, FARTHEST + 1):
            left = left[left + offset < len(hashes)]
            left = left[bands[left] == bands[left + offset]]
            if not len(left):
                break
            close = left[distances(sorted_hashes[left], sorted_hashes[left + offset]) <= threshold]
            if len(close):
                yield order[close], order[close + offset]
