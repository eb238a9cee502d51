"""The chat page as people use it."""

from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Dialog, expect

from tests.part7.demo.conftest import SLOWLY, Demo, Desk, Kept, Sit
from tests.part7.servers import ChatProcess, Fake
from tests.waiting import wait_for

# Slow, so that they stay together: two servers and a browser start for them.
pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_a_reply_shows_up_while_it_is_written(desk: Desk, model: Fake, kept: Kept) -> None:
    model.does(**SLOWLY)
    desk.say("강은 무엇인가요? What is a river?")
    desk.has_begun()

    assert kept.reply()["status"] == "streaming"
    before = len(desk.replies.last.inner_text())
    wait_for(lambda: len(desk.replies.last.inner_text()) > before)
    assert kept.reply()["status"] == "streaming"
    expect(desk.box).to_have_value("")
    expect(desk.chosen).to_have_text("강은 무엇인가요? What is a river?")

    desk.button("Stop").click()
    expect(desk.button("Send")).to_be_visible()


def test_a_stopped_reply_keeps_its_text(desk: Desk, model: Fake, kept: Kept) -> None:
    model.does(**SLOWLY)
    desk.say("Tell me all")
    desk.has_begun()

    desk.button("Stop").click()

    expect(desk.replies.last).to_contain_text("(stopped)")
    reply = kept.reply()
    assert reply["status"] == "stopped"
    assert 0 < len(reply["content"].split()) < SLOWLY["tokens"]
    shown = desk.replies.last.inner_text().removesuffix("(stopped)")
    assert shown.split() == reply["content"].split()


def test_another_reply_stands_beside_the_first(desk: Desk, model: Fake, kept: Kept) -> None:
    desk.say_and_wait("Once more")
    model.does(tokens=3)
    desk.button("Regenerate").click()

    expect(desk.page.get_by_text("Reply 2/2")).to_be_visible()
    expect(desk.replies.last).to_have_text("a river takes")
    desk.button("◀").and_(desk.page.locator(":visible")).click()
    expect(desk.page.get_by_text("Reply 1/2")).to_be_visible()
    expect(desk.replies.last).to_have_text("a river takes what the rain has left")
    first, second = kept.messages(kept.newest, "tree")[1:]
    assert kept.reply()["id"] == first["id"]

    desk.button("▶").and_(desk.page.locator(":visible")).click()
    expect(desk.replies.last).to_have_text("a river takes")
    assert kept.reply()["id"] == second["id"]


def test_thumbs_are_kept_and_taken_back(desk: Desk, kept: Kept) -> None:
    desk.say_and_wait("Was that good?")

    desk.button("Like").click()
    wait_for(lambda: kept.reply()["thumb"] == "up")
    desk.page.get_by_role("button", name="Dislike", exact=True).click()
    wait_for(lambda: kept.reply()["thumb"] == "down")
    desk.page.reload()
    desk.page.get_by_role("button", name="Disliked").click()
    wait_for(lambda: kept.reply()["thumb"] is None)


def test_an_edited_question_is_a_branch(desk: Desk, kept: Kept) -> None:
    desk.say_and_wait("Whta is it?")
    desk.button("Edit").click()
    desk.page.locator("#chat textarea").fill("What is it?")
    desk.page.get_by_role("button", name="Submit").click()

    expect(desk.page.get_by_text("Question 2/2")).to_be_visible()
    expect(desk.said).to_have_text("What is it?")
    expect(desk.button("Send")).to_be_visible()
    desk.button("◀").and_(desk.page.locator(":visible")).click()
    expect(desk.said).to_have_text("Whta is it?")
    tree = kept.messages(kept.newest, "tree")
    assert [each["content"] for each in tree if each["role"] == "user"] == [
        "Whta is it?",
        "What is it?",
    ]


def test_a_conversation_left_while_it_is_answered_goes_on(
    desk: Desk, sit: Sit, model: Fake, kept: Kept
) -> None:
    desk.say_and_wait("First things first")
    desk.button("New conversation").click()
    expect(desk.replies).to_have_count(0)
    model.does(**SLOWLY)
    desk.say("Second, slowly")
    desk.has_begun()

    desk.listed.get_by_text("First things first").first.click()
    expect(desk.said).to_have_text("First things first")
    expect(desk.button("Send")).to_be_visible()
    left = kept.reply()
    assert left["status"] == "streaming"
    # Nothing of the second one is drawn over the first.
    wait_for(lambda: len(kept.reply()["content"]) > len(left["content"]) + 50)
    expect(desk.replies).to_have_text("a river takes what the rain has left")

    # Somebody else, who was not there when it began, follows it too.
    other = sit()
    other.listed.get_by_text("Second, slowly").first.click()
    other.has_begun()
    other.button("Stop").click()
    expect(other.replies.last).to_contain_text("(stopped)")
    desk.listed.get_by_text("Second, slowly").first.click()
    expect(desk.replies.last).to_contain_text("(stopped)")
    assert desk.replies.last.inner_text() == other.replies.last.inner_text()


def test_a_page_closed_while_it_streams_finds_the_reply_again(
    desk: Desk, model: Fake, kept: Kept
) -> None:
    model.does(**SLOWLY)
    desk.say("I shall be back")
    desk.has_begun()
    context = desk.page.context
    desk.page.close()
    then = len(kept.reply()["content"])
    wait_for(lambda: len(kept.reply()["content"]) > then + 50)
    assert kept.reply()["status"] == "streaming"

    desk.page = context.new_page()
    desk.open()
    expect(desk.said).to_have_text("I shall be back")
    desk.has_begun()
    desk.button("Stop").click()
    expect(desk.replies.last).to_contain_text("(stopped)")
    assert kept.reply()["status"] == "stopped"


def test_a_conversation_is_found_renamed_and_deleted(desk: Desk, kept: Kept) -> None:
    desk.say_and_wait("빗물은 어디로 흐르나요")
    number = kept.newest
    search = desk.page.get_by_placeholder("Search in messages")
    search.fill("어디로 흐르")
    expect(desk.listed).to_have_count(1)

    desk.page.get_by_label("Title").fill("Rain water")
    desk.button("Rename").click()
    expect(desk.listed).to_have_text(["Rain water"])
    assert kept.chat.get(f"/conversations/{number}")["title"] == "Rain water"

    asked: list[str] = []

    def answer(dialog: Dialog) -> None:
        asked.append(dialog.message)
        if len(asked) == 1:
            dialog.dismiss()
        else:
            dialog.accept()

    desk.page.on("dialog", answer)
    desk.button("Delete").click()
    expect(desk.said).to_have_text("빗물은 어디로 흐르나요")
    assert kept.chat.get(f"/conversations/{number}")["id"] == number
    desk.button("Delete").click()
    expect(desk.listed).to_have_count(0)
    expect(desk.replies).to_have_count(0)
    assert asked == ["Delete this conversation?"] * 2
    gone = kept.chat.client.get(f"/api/v1/conversations/{number}")
    assert gone.status_code == 404


def test_a_configuration_is_made_and_used(desk: Desk, kept: Kept, model: Fake) -> None:
    page = desk.page
    page.get_by_text("Edit configurations").click()
    page.get_by_label("Model name").fill("fake-model")
    page.get_by_label("Model name").press("Enter")
    page.get_by_label("Temperature").fill("0.3")
    page.get_by_label("Max tokens").fill("2")
    page.get_by_label("System prompt").fill("두 낱말로 답하세요.")
    # Last: a field that is written to while the accordion opens forgets it.
    page.get_by_label("Name", exact=True).fill("terse")
    desk.button("Create as new").click()
    expect(page.get_by_label("Configuration", exact=True)).to_have_value("terse (fake-model)")
    desk.say_and_wait("In two words")

    expect(desk.replies.last).to_have_text("a river")
    config = kept.reply()["config"]
    assert (config["name"], config["temperature"], config["max_tokens"]) == ("terse", 0.3, 2)
    assert model.exchanges[-1].messages[0] == {"role": "system", "content": "두 낱말로 답하세요."}

    page.get_by_label("Max tokens").fill("3")
    desk.button("Save changes").click()
    wait_for(lambda: _limits(kept) == {"terse": 3})
    desk.button("Create as new").click()
    toast = page.get_by_test_id("toast-body")
    expect(toast).to_contain_text("terse")  # the server says that the name is taken
    page.once("dialog", lambda dialog: dialog.accept())
    desk.button("Delete configuration").click()
    expect(page.get_by_label("Configuration", exact=True)).to_have_value("Server's default")
    assert _limits(kept) == {}


def _limits(kept: Kept) -> dict[str, int]:
    """The most tokens of an answer, by the configurations that have such a limit."""
    found = kept.chat.get("/llm-configs")["llm_configs"]
    return {each["name"]: each["max_tokens"] for each in found if each["max_tokens"]}


def test_the_page_says_when_its_server_is_away_and_recovers(
    desk: Desk, server: ChatProcess, demo: Demo
) -> None:
    desk.say_and_wait("Stay with me")
    server.kill()
    try:
        expect(desk.status).to_contain_text("The chat server is away")
        desk.say("Anybody there?")
        expect(desk.page.get_by_test_id("toast-body")).to_be_visible()
        expect(desk.box).to_have_value("Anybody there?")
    finally:
        server.start()

    expect(desk.status).to_contain_text("Ready")
    expect(desk.said).to_have_text("Stay with me")
    desk.box.press("Enter")
    expect(desk.said).to_have_count(2)
    expect(desk.button("Send")).to_be_visible()
    desk.page.reload()
    expect(desk.said).to_have_text(["Stay with me", "Anybody there?"])
    expect(desk.chosen).to_have_text("Stay with me")
    assert "Traceback" not in demo.log.read_text()


def test_a_model_that_is_away_is_said_with_its_reason(
    desk: Desk, server: ChatProcess, model: Fake, kept: Kept
) -> None:
    model.stop()
    try:
        expect(desk.status).to_contain_text("Degraded")
        expect(desk.status).to_contain_text("course up part7")
        desk.say("Hello?")
        expect(desk.replies.last).to_contain_text("(failed: ")
        assert kept.reply()["status"] == "failed"
    finally:
        model.start()
    expect(desk.status).to_contain_text("Ready")


def test_the_history_outlives_the_page_server(desk: Desk, demo: Demo) -> None:
    desk.say_and_wait("Remember this")
    desk.page.goto("about:blank")  # else it would go on by itself, at a moment of its own
    demo.stop()
    demo.start()
    desk.open()

    expect(desk.said).to_have_text("Remember this")
    desk.say_and_wait("And this")
    expect(desk.said).to_have_count(2)


def test_the_page_asks_nobody_but_its_server(desk: Desk, demo: Demo) -> None:
    asked: list[str] = []
    desk.page.on("request", lambda request: asked.append(request.url))
    desk.page.reload()
    expect(desk.status).to_contain_text("Ready")
    desk.say_and_wait("Where are you?")

    assert len(asked) > 10
    hosts = {urlsplit(url).netloc for url in asked if not url.startswith(("data:", "blob:"))}
    assert hosts == {f"127.0.0.1:{demo.port}"}


def test_everything_fits_a_narrow_screen(desk: Desk) -> None:
    desk.say_and_wait("A question that is rather long for such a narrow screen, is it not?")
    desk.page.set_viewport_size({"width": 400, "height": 800})

    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert desk.page.evaluate(overflow) <= 0
    for name in ("New conversation", "Rename", "Delete", "Regenerate", "Send"):
        button = desk.button(name).bounding_box()
        assert button is not None
        assert button["x"] >= 0
        assert button["x"] + button["width"] <= 400
