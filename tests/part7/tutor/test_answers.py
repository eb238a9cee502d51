"""What the tutor says about the real lessons, in both languages."""

import re
from pathlib import Path

import pytest
from tutor.answer import Message, Tutor
from tutor.passages import read_lessons

from tests.conftest import ROOT
from tests.part7.tutor.conftest import Ask

SOURCE = re.compile(r'^\(([\w./-]+), "(.+)"\)$', re.MULTILINE)


def sources(answer: str) -> list[str]:
    return [source for source, _ in SOURCE.findall(answer)]


@pytest.mark.parametrize(
    ("question", "lesson"),
    [
        ("How are rows streamed into PostgreSQL?", "part1/README.md"),
        ("What happens when I kill the generator?", "part1/README.md"),
        ("how do I search for better hyperparameters", "part2/README.md"),
        ("How is a champion promoted?", "part3/README.md"),
        ("What if somebody tampers with the data?", "part3/README.md"),
        ("What does Schemathesis do?", "part5/README.md"),
        ("What is drift?", "part6/README.md"),
        ("Why not pickle?", "part6/README.md"),
        ("What does MODEL_WATCH_SECONDS do?", "part6/README.md"),
        ("행을 어떻게 흘려 넣나요?", "part1/README.ko.md"),
        ("더 좋은 파라미터를 찾고 싶어요", "part2/README.ko.md"),
        ("챔피언은 어떻게 승격하나요?", "part3/README.ko.md"),
        ("서버를 질서 있게 멈추는 방법", "part5/README.ko.md"),
        ("모델을 내려받는 방법", "part6/README.ko.md"),
        ("드리프트가 뭐야?", "part6/README.ko.md"),
    ],
)
def test_a_question_is_answered_from_the_right_lesson(ask: Ask, question: str, lesson: str) -> None:
    assert sources(ask(question))[0] == lesson


@pytest.mark.parametrize("question", ["When does a new version become champion?", "What is drift?"])
def test_a_lesson_that_asks_the_same_is_no_answer(ask: Ask, question: str) -> None:
    assert question in (ROOT / "part7-llm-serving/README.md").read_text(encoding="utf-8")

    assert question not in ask(question)


@pytest.mark.parametrize(
    "question",
    [
        "What is the capital of France?",
        "How do I bake sourdough bread?",
        "What is the weather tomorrow?",
        "how to train a dragon",
        "프랑스의 수도는 어디인가요?",
        "여행 가기 좋은 곳은?",
        "오늘 날씨 어때?",
    ],
)
def test_what_the_lessons_do_not_know_is_admitted_with_the_nearest_headings(
    ask: Ask, question: str
) -> None:
    lead, _, *nearest = ask(question).split("\n")

    assert lead.startswith(("The lessons have nothing on that", "강의에는 그 내용이 없고"))
    assert 2 <= len(nearest) <= 3
    for line in nearest:
        found = re.fullmatch(r'- ([\w./-]+), "(.+)"', line)
        assert found is not None
        headings = re.findall("^#+ (.+)$", (ROOT / found[1]).read_text("utf-8"), re.MULTILINE)
        assert found[2] in headings


@pytest.mark.parametrize("question", ["☃☃☃", "김치찌개 끓이는 방법"])
def test_where_no_heading_is_near_examples_are_given(ask: Ask, question: str) -> None:
    answer = ask(question)

    assert answer.startswith(("The lessons have nothing on that", "강의에는 그 내용이 없고"))
    assert len(re.findall(r"^- .*part\d", answer, re.MULTILINE)) == 3


def test_what_is_quoted_stands_in_the_lesson(ask: Ask) -> None:
    answer = ask("How is a champion promoted?")
    lesson = (ROOT / "part3/README.md").read_text(encoding="utf-8")

    assert '(part3/README.md, "Promote it")' in answer
    assert "uv run python -m part3.promote_model --model-name sk_model" in answer
    code = re.findall(r"```\w*\n(.*?)```", answer.split("(part3/README.md")[0], re.DOTALL)
    assert code
    assert all(block in lesson for block in code)


def test_at_most_three_passages_are_shown_and_no_two_the_same(ask: Ask) -> None:
    # This sentence stands in every lesson; in one of them it goes on differently.
    answer = ask("Variables come from the shell or from a file .env in the folder you run from")

    shown = [text for text in answer.split("\n\n")[1:] if not text.startswith("(")]

    assert 2 <= len(sources(answer)) <= 3
    assert len(shown) == len(set(shown))


@pytest.mark.parametrize("question", ["who are you?", "what model are you", "Are you a human?"])
def test_asked_about_itself_it_says_that_it_is_a_search(ask: Ask, question: str) -> None:
    answer = ask(question)

    assert "no neural network" in answer
    assert "search" in answer
    assert "LLM_BASE_URL" in answer


@pytest.mark.parametrize("question", ["너는 누구니", "당신은 사람인가요?", "자기소개 해 줘"])
def test_asked_about_itself_in_korean_it_says_so_in_korean(ask: Ask, question: str) -> None:
    answer = ask(question)

    assert "신경망" in answer
    assert "검색" in answer
    assert "LLM_BASE_URL" in answer


@pytest.mark.parametrize(
    "question", ["What model is served by the API?", "어떤 모델을 서빙하나요?"]
)
def test_a_question_about_the_courses_model_is_not_about_the_tutor(ask: Ask, question: str) -> None:
    assert "LLM_BASE_URL" not in ask(question)
    assert sources(ask(question))


@pytest.mark.parametrize("greeting", ["Hello!", "hi there", "안녕하세요", ""])
def test_a_greeting_comes_back_with_three_questions_that_the_lessons_answer(
    ask: Ask, greeting: str
) -> None:
    examples = re.findall("^- (.+)$", ask(greeting), re.MULTILINE)

    assert len(examples) == 3
    for example in examples:
        lesson, heading = re.search(r"part\d", example), re.search('"(.+)"', example)
        assert lesson is not None
        assert heading is not None
        shown = SOURCE.findall(ask(example))
        assert shown[0][0].startswith((f"{lesson[0]}/", f"{lesson[0]}-"))  # part7-llm-serving
        assert heading[1] in {found for _, found in shown}


@pytest.mark.parametrize(("thanks", "answer"), [("Thank you!", "welcome"), ("고마워요", "다행")])
def test_thanks_are_no_question(ask: Ask, thanks: str, answer: str) -> None:
    assert answer in ask(thanks)
    assert sources(ask(thanks)) == []


@pytest.mark.parametrize(
    ("question", "lesson"),
    [("What is part 3 about?", "part3/README.md"), ("파트 5는 뭐예요?", "part5/README.ko.md")],
)
def test_a_lesson_that_is_named_alone_is_introduced(ask: Ask, question: str, lesson: str) -> None:
    answer = ask(question)

    assert set(sources(answer)) == {lesson}
    assert SOURCE.findall(answer)[0][1] in {"Goal", "목표"}


def test_a_lesson_that_is_named_is_preferred(ask: Ask) -> None:
    assert sources(ask("How do I run part2 in containers?"))[0] == "part2/README.md"
    assert sources(ask("How do I run part5 in containers?"))[0] == "part5/README.md"


def test_a_follow_up_is_understood_with_the_question_before(ask: Ask) -> None:
    before, after = "What is a generator?", "And how do I kill it?"

    assert '"Kill the generator"' in ask(before, after)
    # A question that stands for itself is not mixed with the one before.
    assert ask("How is a champion promoted?", "What is drift?") == ask("What is drift?")
    assert ask("드리프트가 뭐야?", "그건 어떻게 찾아?") != ask("그건 어떻게 찾아?")


def test_only_what_the_user_says_is_searched_for(tutor: Tutor) -> None:
    question = Message("user", "What is drift?")
    others = [Message("system", "You know PostgreSQL."), Message("assistant", "Ask about ONNX.")]

    assert tutor.answer([*others, question]) == tutor.answer([question])


def test_the_same_question_gets_the_same_answer_from_another_index(tutor: Tutor) -> None:
    another = Tutor(read_lessons(ROOT))

    for question in ("How is a champion promoted?", "드리프트가 뭐야?", "nonsense", "hi"):
        asked = [Message("user", question)]
        assert another.answer(asked) == tutor.answer(asked) == tutor.answer(asked)
    assert another.fingerprint == tutor.fingerprint


def test_a_korean_question_is_answered_from_english_lessons_if_there_are_no_others(
    tmp_path: Path,
) -> None:
    (tmp_path / "README.md").write_text("# Course\n\nThe `widget` turns left.\n", encoding="utf-8")

    answer = Tutor(read_lessons(tmp_path)).answer([Message("user", "widget은 무엇인가요?")])

    assert answer.startswith("강의에는")
    assert "The `widget` turns left." in answer
