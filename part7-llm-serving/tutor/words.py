"""What the tutor says in a language, and what it has to know of it, from `words.LANGUAGE.md`."""

import re
from dataclasses import dataclass
from pathlib import Path

from tutor.passages import Language

HANGUL = re.compile("[\u1100-\u11ff\u3130-\u318f\uac00-\ud7a3]")
TERM = re.compile(r"[\w./:@-]+")  # a name such as part3.promote_model or MODEL_DIR stays whole


@dataclass(frozen=True)
class Words:
    """The sections of a file of words."""

    lead: str
    nothing: str  # before the nearest headings
    nothing_near: str  # before examples
    greeting: str
    example: str  # with {heading} and {lesson}
    itself: str
    thanks: str
    lesson_number: re.Pattern[str]
    greets: re.Pattern[str]
    gives_thanks: re.Pattern[str]
    asks_about_itself: re.Pattern[str]
    follow_ups: frozenset[str]  # words by which a question goes on with the one before
    exercises: str  # the heading over questions that nobody has answered
    aliases: dict[str, str]  # what a learner says: what the lessons say
    endings: tuple[str, ...]  # of words, longest first
    stop_words: frozenset[str]

    def terms(self, question: str) -> list[str]:
        """The words of a question that say what it is about, without their endings."""
        found = []
        for match in TERM.finditer(question.lower()):
            word = match.group().strip("./:-")
            if word in self.stop_words or word in self.endings:
                continue
            word = self._stem(word)
            if word and word not in self.stop_words:
                found.append(self.aliases.get(word, word))
        return found

    def _stem(self, word: str) -> str:
        ending = next((end for end in self.endings if word.endswith(end) and word != end), "")
        return word.removesuffix(ending)

    def goes_on(self, question: str) -> bool:
        """Whether a question is too short to be understood without the one before."""
        terms = self.terms(question)
        said = {match.group() for match in TERM.finditer(question.lower())}
        return not terms or (len(terms) <= 4 and not said.isdisjoint(self.follow_ups))


def language_of(text: str) -> Language:
    """Korean if there is any Hangul in it: questions in Korean are full of English names."""
    return "ko" if HANGUL.search(text) else "en"


def load_words(language: Language) -> Words:
    """Read the file of a language."""
    text = Path(__file__).with_name(f"words.{language}.md").read_text(encoding="utf-8")
    sections = {}
    for section in text.split("\n## ")[1:]:
        name, _, content = section.partition("\n")
        sections[name.strip()] = content.strip()
    aliases = (line.partition(": ") for line in sections["aliases"].splitlines())
    return Words(
        lead=sections["lead"],
        nothing=sections["nothing"],
        nothing_near=sections["nothing near"],
        greeting=sections["greeting"],
        example=sections["example"],
        itself=sections["itself"],
        thanks=sections["thanks"],
        lesson_number=re.compile(sections["lesson number"], re.IGNORECASE),
        greets=_pattern(sections["greets"]),
        gives_thanks=_pattern(sections["gives thanks"]),
        asks_about_itself=_pattern(sections["asks about itself"]),
        follow_ups=frozenset(sections["follow-ups"].split()),
        exercises=sections["exercises"],
        aliases={said: written for said, _, written in aliases},
        endings=tuple(sorted(sections["endings"].split(), key=len, reverse=True)),
        stop_words=frozenset(sections["stop words"].split()),
    )


def _pattern(lines: str) -> re.Pattern[str]:
    return re.compile("|".join(lines.splitlines()), re.IGNORECASE)
