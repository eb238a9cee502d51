"""What the tutor says: the best passages of the lessons, each with its source."""

import hashlib
import re
from dataclasses import dataclass

from tutor.passages import Language, Passage
from tutor.search import Hit, Index
from tutor.words import Words, language_of, load_words

# The similarity from which a passage is an answer. Of the questions behind the numbers in
# search.py, those about the course find one with at least 0.20 in English (but for one question,
# whose words the lessons do not use) and 0.13 in Korean, and those about anything else with at most
# 0.16 and 0.05: English words share more n-grams by chance.
GOOD: dict[Language, float] = {"en": 0.18, "ko": 0.08}
NEARLY_AS_GOOD = 0.55  # of the best one's similarity; below, a passage would only distract
SAME = 0.8  # cosine from which two passages are one: the lessons repeat some sentences
PASSAGES = 3
PROSE = 600  # characters of a passage
CODE = 1200  # of its code blocks; a block is shown whole or not at all
LONGEST_TALK = 80  # characters up to which somebody may be greeting or asking who we are

SENTENCE_END = re.compile(r"(?<=[.!?:])\s+")
MARKS = " \t\n.!?~,\u3002"


@dataclass(frozen=True)
class Message:
    """One message of a conversation."""

    role: str
    content: str


class Tutor:
    """Answers questions from passages; the same question gets the same answer."""

    def __init__(self, passages: list[Passage]) -> None:
        self.passages = passages
        self._words: dict[Language, Words] = {}
        self._indexes: dict[Language, Index] = {}
        for language in ("en", "ko"):
            words = self._words[language] = load_words(language)
            if ours := [each for each in passages if each.language == language]:
                self._indexes[language] = Index(ours, words)
        content = "\0".join(f"{each.source}\0{each.words}" for each in passages)
        self.fingerprint = f"fp_{hashlib.sha256(content.encode()).hexdigest()[:10]}"

    def answer(self, messages: list[Message]) -> str:
        """The answer to the last message of the role user; there must be one."""
        asked = [message.content for message in messages if message.role == "user"]
        question = asked[-1]
        before = asked[-2] if len(asked) > 1 else ""
        language = language_of(question)
        return self._talk(language, question) or self._from_lessons(language, question, before)

    def _talk(self, language: Language, question: str) -> str:
        """What to say to what is no question about the course; else nothing."""
        words = self._words[language]
        said = question.strip(MARKS)
        if len(said) > LONGEST_TALK:
            return ""
        if not said or words.greets.fullmatch(said):
            return _list(words.greeting, self._examples(language))
        if words.gives_thanks.fullmatch(said):
            return words.thanks
        return words.itself if words.asks_about_itself.search(said) else ""

    def _from_lessons(self, language: Language, question: str, before: str) -> str:
        words, index = self._words[language], self._index(language)
        if lesson := index.named_lesson(question):
            return _compose(words, lesson[:2])
        hits = index.search(question, before if words.goes_on(question) else "")
        hits = [hit for hit in hits if not _only_asks(hit.passage, question)]
        if hits and (found := _best(index, hits, GOOD[language])):
            return _compose(words, found)
        nearest = [_source(passage) for passage in index.nearest_sections(question, PASSAGES)]
        if nearest:
            return _list(words.nothing, nearest)
        return _list(words.nothing_near, self._examples(language))

    def _index(self, language: Language) -> Index:
        """The index of a language, or of the other one where no lesson is written in it."""
        return self._indexes.get(language) or next(iter(self._indexes.values()))

    def _examples(self, language: Language) -> list[str]:
        """Three questions about sections that one lesson alone has, from lessons far apart."""
        own: dict[str, list[str]] = {}
        lessons_with: dict[str, set[str]] = {}
        for passage in self._index(language).passages:
            lessons_with.setdefault(passage.heading, set()).add(passage.source)
        for passage in self._index(language).passages:
            lesson, _, file = passage.source.rpartition("/")
            if lesson and file and len(lessons_with[passage.heading]) == 1:
                headings = own.setdefault(lesson, [])
                if passage.heading not in headings and passage.heading != passage.title:
                    headings.append(passage.heading)
        lessons = list(own)
        chosen = sorted({0, len(lessons) // 2, len(lessons) - 1}) if lessons else []
        example = self._words[language].example
        return [
            example.format(heading=headings[len(headings) // 2], lesson=lesson)
            for lesson, headings in ((lessons[place], own[lessons[place]]) for place in chosen)
        ]


def _list(lead: str, items: list[str]) -> str:
    return "\n".join([lead, "", *(f"- {item}" for item in items)])


def _best(index: Index, hits: list[Hit], good: float) -> list[Passage]:
    """The passages to show: good ones, nearly as good as the best one, no two the same."""
    enough = max(good, NEARLY_AS_GOOD * hits[0].similarity)
    found: list[Hit] = []
    for hit in hits:
        if hit.similarity < enough or len(found) == PASSAGES:
            break
        if all(index.alike(hit, other) < SAME for other in found):
            found.append(hit)
    # Those of one section in its order: the second often goes on where the first ends.
    best_first = list(dict.fromkeys(_section(hit) for hit in found))
    found.sort(key=lambda hit: (best_first.index(_section(hit)), hit.place))
    return [hit.passage for hit in found]


def _only_asks(passage: Passage, question: str) -> bool:
    """Whether a lesson asks this question there, as an example; that is no answer."""
    return len(question.split()) > 2 and question.strip() in passage.words


def _section(hit: Hit) -> tuple[str, str]:
    return hit.passage.source, hit.passage.heading


def _compose(words: Words, passages: list[Passage]) -> str:
    shown = (f"{_trimmed(passage)}\n\n({_source(passage)})" for passage in passages)
    return "\n\n".join([words.lead, *shown])


def _source(passage: Passage) -> str:
    return f'{passage.source}, "{passage.heading}"'


def _trimmed(passage: Passage) -> str:
    """Whole sentences and whole code blocks of a passage, from its beginning."""
    shown: list[str] = []
    prose, code = PROSE, CODE
    for block in passage.blocks:
        if block.startswith("```"):
            if len(block) > code and shown:
                break
            code -= len(block)
            shown.append(block)
        else:
            text = _sentences(block, prose)
            prose -= len(text)
            shown.append(text)
    return "\n\n".join(shown)


def _sentences(text: str, length: int) -> str:
    """As many whole sentences as fit into so many characters, at least one."""
    end = 0
    for match in (*SENTENCE_END.finditer(text), None):
        here = match.start() if match else len(text)
        if end and here > length:
            break
        end = here
    return text[:end]
