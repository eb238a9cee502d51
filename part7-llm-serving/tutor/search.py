"""Which passages are about a question: TF-IDF over character n-grams, no neural network.

Characters and not words, because a Korean word changes its end with its role in the sentence, and
because a learner types `promote` where the lesson says `promotion`.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sklearn.feature_extraction import DictVectorizer
from sklearn.feature_extraction.text import TfidfVectorizer

from tutor.passages import Passage
from tutor.words import Words

# Chosen on the real lessons with 56 questions of which the right section is known and 36 that have
# nothing to do with the course: the right section is among the first three for 52 of the 56.
HEADING = 0.5  # what the similarity of the heading adds to that of the passage
SECTION = 0.6  # and that of the whole section: a paragraph rarely repeats what it is about
EXERCISE = 0.6  # a question in an exercise is like a learner's question, but no answer to it
ARCHIVE = 0.8  # how it is not done
OPENING = 1.2  # the first passage of a section says what it is about
ROW = 0.85  # a row of a table is short, which makes it similar to whatever holds its words
SHORT = 150  # characters below which a passage counts a little less
FAMILIAR = 0.5  # below this share of its n-grams a word is not in a text: they are there by chance
BEFORE = 0.5  # weight of the question before
OTHER_LESSON = 0.5  # where the question names a lesson
LONGEST = 2000  # characters of a question that are looked at


@dataclass(frozen=True)
class Hit:
    """A passage and how much it is like the question; 0 is not at all."""

    passage: Passage
    similarity: float
    place: int  # among the passages


class Index:
    """The passages of one language."""

    def __init__(self, passages: list[Passage], words: Words) -> None:
        self.passages = passages
        self._words = words
        self._tfidf = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True)
        texts = [f"{passage.heading} {passage.words}" for passage in passages]
        self._by_passage = self._tfidf.fit_transform(texts).astype("float32")
        self._grams_of = self._tfidf.build_analyzer()
        self._vocabulary: dict[str, int] = self._tfidf.vocabulary_
        # Both sort the n-grams, so a column means the same in either.
        self._query = DictVectorizer().fit([dict.fromkeys(self._vocabulary, 1.0)])
        self._idf: list[float] = self._tfidf.idf_.tolist()
        self._rarest = max(self._idf)

        sections: dict[tuple[str, str], list[Passage]] = {}
        for passage in passages:
            sections.setdefault((passage.source, passage.heading), []).append(passage)
        self._sections = list(sections.values())
        places = {key: place for place, key in enumerate(sections)}
        self._section_of = [places[each.source, each.heading] for each in passages]

        self._by_heading = self._matrix([heading for _, heading in sections])
        self._by_section = self._matrix([_whole(section) for section in self._sections])
        self._in_passage = self._by_passage.sign()  # 1 where an n-gram is there
        self._in_section = self._by_section.sign()
        openings = {id(section[0]) for section in self._sections}
        self._weights = [
            self._weight(passage) * (OPENING if id(passage) in openings else 1)
            for passage in passages
        ]

    def search(self, question: str, before: str = "") -> list[Hit]:
        """All passages, best first.

        Args:
            question: what is asked now.
            before: the question that it goes on with, or nothing.
        """
        asked = self._asked(question, before)
        query, shares, importance = self._vector(asked)
        section_of = self._section_of
        cosine = (
            _product(self._by_passage, query)[:, 0]
            + HEADING * _product(self._by_heading, query)[section_of, 0]
            + SECTION * _product(self._by_section, query)[section_of, 0]
        )
        # A cosine alone is high as well for a passage with one word of the question, often.
        said = (
            _familiar(_product(self._in_passage, shares), importance)
            + _familiar(_product(self._in_section, shares), importance)[section_of]
        ) / 2
        similarity = (cosine * said * self._weights).tolist()
        named = self._named(question) or self._named(before)
        hits = [
            Hit(passage, value if not named or passage.source in named else OTHER_LESSON * value, n)
            for n, (passage, value) in enumerate(zip(self.passages, similarity, strict=True))
        ]
        return sorted(hits, key=lambda hit: (-hit.similarity, hit.place))

    def nearest_sections(self, question: str, number: int) -> list[Passage]:
        """The first passage of the sections that have most in common with a question, if any."""
        query, _, _ = self._vector(self._asked(question, ""))
        likeness = (_product(self._by_section, query) + _product(self._by_heading, query))[:, 0]
        ranked = sorted(range(len(self._sections)), key=lambda place: (-likeness[place], place))
        return [self._sections[place][0] for place in ranked[:number] if likeness[place] > 0]

    def named_lesson(self, question: str) -> list[Passage]:
        """The passages of the lesson, if a question names one and asks for nothing else."""
        named = self._named(question)
        if not named or self._asked(question, ""):
            return []
        return [passage for passage in self.passages if passage.source in named]

    def alike(self, one: Hit, other: Hit) -> float:
        """The cosine between two passages: the lessons repeat some of them word by word."""
        return float((self._by_passage[one.place] @ self._by_passage[other.place].T).sum())

    def _matrix(self, texts: list[str]) -> Any:
        return self._tfidf.transform(texts).astype("float32")

    def _weight(self, passage: Passage) -> float:
        weight: float = min(1.0, len(passage.words) / SHORT) ** 0.15
        if passage.heading == self._words.exercises:
            weight *= EXERCISE
        if "archive" in passage.heading.lower():
            weight *= ARCHIVE
        if passage.is_row:
            weight *= ROW
        return weight

    def _named(self, question: str) -> set[str]:
        """The files of the lessons that a question names by their numbers."""
        numbers = self._words.lesson_number.findall(question[:LONGEST])
        sources = {passage.source for passage in self.passages}
        return {
            source
            for source in sources
            for number in numbers
            if source.startswith((f"part{number}/", f"part{number}-"))
        }

    def _asked(self, question: str, before: str) -> dict[str, float]:
        """Each term with its weight; how a lesson is named is none."""
        asked: dict[str, float] = {}
        for text, weight in ((question, 1.0), (before, BEFORE)):
            for term in self._words.terms(self._words.lesson_number.sub(" ", text[:LONGEST])):
                asked.setdefault(term, weight)
        return asked

    def _vector(self, asked: dict[str, float]) -> tuple[Any, Any, list[float]]:
        """The question as one row, its words as a row each, and the weight of each word.

        N-grams that no lesson has count in the length of the vector: who asks for what is not there
        must not look as if they had asked for the rest alone.
        """
        together: dict[str, float] = {}
        shares = []
        for term, weight in asked.items():
            grams = {gram: self._rarity(gram) for gram in self._open(term)}
            energy = sum(value**2 for value in grams.values())
            shares.append({gram: value**2 / energy for gram, value in grams.items()})
            for gram, value in grams.items():
                # By the root of their number, or a long word would drown the others.
                value_here = weight * value / math.sqrt(len(grams))
                together[gram] = max(together.get(gram, 0.0), value_here)
        length = math.sqrt(sum(value**2 for value in together.values())) or 1.0
        query = {gram: value / length for gram, value in together.items()}
        return (
            self._query.transform([query]),
            self._query.transform(shares or [{}]),
            list(asked.values()) or [1.0],
        )

    def _open(self, term: str) -> Iterator[str]:
        """The n-grams of a term but not those of its end: in a lesson it may have another one."""
        grams = set(self._grams_of(term))
        inside = {gram for gram in grams if not gram.endswith(" ")}
        ends_vary = len(term) >= 5 or not term.isascii()
        yield from sorted(inside if inside and ends_vary else grams)

    def _rarity(self, gram: str) -> float:
        column = self._vocabulary.get(gram)
        return self._rarest if column is None else self._idf[column]


def _whole(section: list[Passage]) -> str:
    first = section[0]
    words = " ".join(passage.words for passage in section)
    return f"{first.title} {first.heading} {first.heading} {words}"


def _product(texts: Any, rows: Any) -> Any:
    """One row per text, one column per row of the second."""
    return (texts @ rows.T).toarray()


def _familiar(shares: Any, importance: list[float]) -> Any:
    """How much of the question is in each text, from 0 to 1, given the share of each word."""
    known = ((shares - FAMILIAR) / (1 - FAMILIAR)).clip(0, 1)
    return known @ importance / sum(importance)
